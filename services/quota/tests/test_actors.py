"""Who acts is whom the token is of: over the real door, with keys of an identity provider made here."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from grpc import aio

from chassis.errors import Invalid
from chassis.testing import FakeClock, InMemoryBus
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from services.quota.inbound.actors import ProvenActors
from services.quota.tests.test_service import KEY, config, door_of
from services.quota.wiring import build

ISSUER, AUDIENCE = "https://login.example", "corkboard-quota"
RULE = pb.Rule(key=KEY, limit=10, period_s=1.0, burst=10, unit="requests", tier=1)


class Provider:
    """An identity provider that lays its public keys into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate("first")

    def rotate(self, key_id: str) -> None:
        self._keys[key_id] = ec.generate_private_key(ec.SECP256R1())
        self.newest = key_id
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._keys[key_id].public_key(), as_dict=True)
        written = json.dumps({"keys": [{**public, "kid": key_id, "use": "sig"}]})
        self.path.write_text(written)
        later_ns = self.path.stat().st_mtime_ns + len(self._keys) * 1_000_000_000
        os.utime(self.path, ns=(later_ns, later_ns))

    def token(self, key_id: str = "", **facts: Any) -> str:
        key_id = key_id or self.newest
        known = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600}
        claims = {name: value for name, value in {**known, **facts}.items() if value is not None}
        return jwt.encode(claims, self._keys[key_id], algorithm="ES256", headers={"kid": key_id})


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path / "keys.json")


@pytest.fixture
async def stubs(provider: Provider, tmp_path: Path) -> Any:
    told = {"actor_keys_path": str(provider.path), "actor_issuer": ISSUER}
    service = build(config(tmp_path).model_copy(update=told), bus=InMemoryBus(), clock=FakeClock())
    async with service, aio.insecure_channel(door_of(service).address) as channel:
        yield {name: getattr(rpc, f"{name}ServiceStub")(channel) for name in ("Quota", "Usage", "Capacity")}


@contextmanager
def refused_with(code: grpc.StatusCode, words: str) -> Iterator[None]:
    with pytest.raises(aio.AioRpcError) as refused:
        yield
    assert refused.value.code() is code, refused.value.details()
    assert words in (refused.value.details() or "")


async def test_the_token_says_who_wrote_a_rule_and_owns_it(stubs: Mapping[str, Any], provider: Provider) -> None:
    answer = await stubs["Quota"].CreateRule(pb.CreateRuleRequest(rule=RULE), metadata=bearer(provider.token()))
    assert (answer.rule_version.changed_by, answer.rule_version.rule.owner) == ("ann", "ann")


async def test_nobody_is_a_second_person_by_saying_so(stubs: Mapping[str, Any], provider: Provider) -> None:
    quota, ann, bob = stubs["Quota"], bearer(provider.token()), bearer(provider.token(sub="bob"))
    owned = pb.Rule()
    owned.CopyFrom(RULE)
    owned.owner = "team"
    await quota.CreateRule(pb.CreateRuleRequest(rule=owned), metadata=ann)
    await quota.ValidateRule(pb.RuleRef(key=KEY, version=1), metadata=ann)
    pretending = pb.ApproveRuleRequest(ref=pb.RuleRef(key=KEY, version=1, actor="bob"))
    with refused_with(grpc.StatusCode.PERMISSION_DENIED, "the token is of 'ann', the message of 'bob'"):
        await quota.ApproveRule(pretending, metadata=ann)
    approved = await quota.ApproveRule(pretending, metadata=bob)
    assert approved.rule_version.state == pb.RULE_STATE_APPROVED


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"exp": time.time() - 3_600}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": "somebody-else"}, "udience"),
        ({"iss": "https://elsewhere.example"}, "ssuer"),
        ({"sub": None}, "no claim 'sub'"),
    ],
)
async def test_a_token_that_is_not_for_here_is_refused(
    stubs: Mapping[str, Any], provider: Provider, facts: Mapping[str, Any], words: str
) -> None:
    with refused_with(grpc.StatusCode.UNAUTHENTICATED, words):
        await stubs["Quota"].RevokeRule(pb.RuleRef(key=KEY, version=1), metadata=bearer(provider.token(**facts)))


async def test_forged_tokens_are_refused(stubs: Mapping[str, Any], provider: Provider, tmp_path: Path) -> None:
    forger = Provider(tmp_path / "forged.json")
    claims = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600}
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "first"})
    shared = jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": "first"})
    for token in (forger.token(), unsigned, shared, "not.a.token", "", "e30.e30.e30"):
        with refused_with(grpc.StatusCode.UNAUTHENTICATED, ""):
            await stubs["Quota"].PublishRule(pb.RuleRef(key=KEY, version=1), metadata=bearer(token))


@pytest.mark.parametrize(
    ("service", "method", "request_"),
    [
        ("Quota", "CreateRule", pb.CreateRuleRequest(rule=RULE, actor="ann")),
        ("Quota", "ValidateRule", pb.RuleRef(key=KEY, actor="ann")),
        ("Quota", "ApproveRule", pb.ApproveRuleRequest(ref=pb.RuleRef(key=KEY, actor="ann"))),
        ("Quota", "PublishRule", pb.RuleRef(key=KEY, actor="ann")),
        ("Quota", "RevokeRule", pb.RuleRef(key=KEY, actor="ann")),
        ("Usage", "ApplyProposals", pb.ApplyProposalsRequest(actor="ann")),
        ("Capacity", "ApplyCapacity", pb.ApplyCapacityRequest(actor="ann")),
    ],
)
async def test_no_step_without_a_token_and_reading_needs_none(
    stubs: Mapping[str, Any], service: str, method: str, request_: Any
) -> None:
    with refused_with(grpc.StatusCode.UNAUTHENTICATED, "authorization"):
        await getattr(stubs[service], method)(request_)
    assert list((await stubs["Quota"].ListRules(pb.ListRulesRequest())).rule_versions) == []


async def test_new_keys_count_without_a_restart_and_a_broken_file_leaves_the_old_ones(
    stubs: Mapping[str, Any], provider: Provider
) -> None:
    old = provider.token()
    provider.rotate("second")
    quota = stubs["Quota"]
    await quota.CreateRule(pb.CreateRuleRequest(rule=RULE), metadata=bearer(provider.token()))
    with refused_with(grpc.StatusCode.UNAUTHENTICATED, "no key 'first'"):
        await quota.CreateRule(pb.CreateRuleRequest(rule=RULE), metadata=bearer(old))
    provider.path.write_text("half a fi")
    await quota.ValidateRule(pb.RuleRef(key=KEY, version=1), metadata=bearer(provider.token()))


def test_a_start_with_bad_keys_or_without_an_issuer_names_the_field(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="actor_issuer"):
        ProvenActors(provider.path, "", AUDIENCE, "sub")
    with pytest.raises(Invalid, match="no JWK set"):
        ProvenActors(tmp_path / "gone.json", ISSUER, AUDIENCE, "sub")
