"""One good request for each method of each contract: what hostile ones are made from, and what must still work."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from corkboard.session import Session
from e2e.hostile.values import FLOAT32_64
from e2e.surface import event, feed_request, get_feed
from protos.blender.v1 import blender_pb2
from protos.callers import CALLERS, SERVED_OUTSIDE, WORKLOADS
from protos.cg.v1 import cg_pb2
from protos.common.v1 import common_pb2
from protos.enrich.v1 import enrich_pb2
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.pins.v1 import pins_pb2
from protos.quota.v1 import quota_pb2, quota_pb2_grpc
from protos.ranker.v1 import ranker_pb2
from protos.tables import table_to_batch
from protos.tensors import numpy_to_tensor
from services.ranker.domain.candidates import RankCandidate
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranking import PinFeatures, SequenceEvent

USER, ACTOR = "person-00045", "hostile"
PINS = [f"pin-{number:06d}" for number in range(1, 9)]
NOW_MS = 1_790_000_000_000
METHODS = tuple(sorted(method for method in CALLERS if method.rpartition("/")[0] not in SERVED_OUTSIDE))
PROCESSES = {"ranker-root": "ranker"}  # the name of the local process, where it is another


@dataclass(frozen=True)
class Good:
    """`is_repeatable` tells whether the same request succeeds again."""

    process: str
    method: str
    request: Message
    is_repeatable: bool = True


def process_of(method: str) -> str:
    """The local process that serves `package.Service/Method`."""
    service = method.rpartition("/")[0]
    (workload,) = [name for name, workload in WORKLOADS.items() if service in workload.services]
    return PROCESSES.get(workload, workload)


async def good_requests(session: Session) -> dict[str, Good]:
    """By `package.Service/Method`; every method has one."""
    feed = await get_feed(session, feed_request(USER))
    key, lease = await _rule(session), await _lease(session)
    requests = _reads(feed.request_id, await _tensors(session)) | _quota(key, lease) | _writes()
    by_method = {method: requests[method.rpartition("/")[2]] for method in METHODS}
    once = {"CreateRule", "ValidateRule", "ApproveRule", "PublishRule", "RevokeRule", "Acquire", "Renew", "Release"}
    once |= {"ApplyProposals", "ApplyCapacity"}  # no rule of that version; no admin
    return {
        method: Good(process_of(method), method, request, method.rpartition("/")[2] not in once)
        for method, request in by_method.items()
    }


def _reads(feed_id: str, tensors: Mapping[str, Any]) -> dict[str, Message]:
    candidates = [
        ranker_pb2.RankCandidate(
            pin_id=pin, retrieval_score=1.0, retrieval_rank=row, score_by_generator={"popular": 1.0}
        )
        for row, pin in enumerate(PINS)
    ]
    vectors = common_pb2.Tensor(data=FLOAT32_64 * len(PINS), shape=[len(PINS), 64], dtype=common_pb2.DTYPE_FLOAT32)
    return {
        "PreviewEvent": enrich_pb2.PreviewEventRequest(event=event(USER, "save", PINS[0])),
        "GetSequence": indexer_pb2.GetSequenceRequest(user_id=USER, sequence="engagement", columns=["pin_id"]),
        "BatchGetSequences": indexer_pb2.BatchGetSequencesRequest(user_ids=[USER], sequence="engagement"),
        "DescribeSequence": indexer_pb2.DescribeSequenceRequest(sequence="engagement"),
        "BatchGetPins": indexer_pb2.BatchGetPinsRequest(pin_ids=PINS, columns=["title"]),
        "GetUser": indexer_pb2.GetUserRequest(user_id=USER, surface="home"),
        "Retrieve": cg_pb2.RetrieveRequest(user_id=USER, surface="home", num_candidates=50),
        "Rank": ranker_pb2.RankRequest(user_id=USER, surface="home", candidates=candidates, request_time_ms=NOW_MS),
        "Score": ranker_pb2.ScoreRequest(model="ranker", inputs=tensors, user_id=USER, sequence_version=1),
        "GetFeed": feed_request(USER),
        "ExplainFeed": blender_pb2.ExplainFeedRequest(request_id=feed_id, why_not_pin_ids=PINS[:2]),
        "Blend": blender_pb2.BlendRequest(
            ids=PINS,
            relevance=common_pb2.Tensor(
                data=FLOAT32_64[: 4 * len(PINS)], shape=[len(PINS)], dtype=common_pb2.DTYPE_FLOAT32
            ),
            vectors=vectors,
            slate_size=4,
            diversity_weight=0.5,
        ),
        "QueryUsage": quota_pb2.QueryUsageRequest(key_prefix="surface"),
        **dict.fromkeys(
            ("ProposeRightsizing", "BacktestRightsizing"), quota_pb2.ProposeRightsizingRequest(key_prefix="surface")
        ),
        "ProposeHaircuts": quota_pb2.ProposeHaircutsRequest(
            budgets=[quota_pb2.Budget(owner=ACTOR, amount=1e9, window_days=28, price={"requests": 0.001})]
        ),
        "DescribeCapacity": quota_pb2.DescribeCapacityRequest(team="feed", zone="local"),
        "QueryQuotaUsage": indexer_pb2.QueryQuotaUsageRequest(
            key_prefix="surface", from_time_ms=NOW_MS - 86_400_000, to_time_ms=NOW_MS
        ),
    }


def _writes() -> dict[str, Message]:
    pin = pins_pb2.Pin(
        pin_id="pin-hostile",
        title="a good pin",
        link="https://example.org/a",
        topics=["travel"],
        quality={"sharpness": 0.5},
        created_time_ms=1_700_000_000_000,
        locale="en-US",
    )
    return {
        "PublishEvents": ingest_pb2.PublishEventsRequest(events=[event("person-hostile", "save", PINS[0])]),
        "PublishPins": ingest_pb2.PublishPinsRequest(pins=[pin]),
    }


def _quota(key: str, lease: quota_pb2.Lease) -> dict[str, Message]:
    ref = quota_pb2.RuleRef(key=key, actor=ACTOR, why="a test")
    return {
        "CreateRule": quota_pb2.CreateRuleRequest(rule=_new_rule(key), actor=ACTOR, why="a test", expected_version=1),
        **dict.fromkeys(("ValidateRule", "PublishRule", "RevokeRule", "GetRule", "History"), ref),
        "ApproveRule": quota_pb2.ApproveRuleRequest(ref=ref),
        "ApplyProposals": quota_pb2.ApplyProposalsRequest(
            proposals=[quota_pb2.RightsizingProposal(current=_new_rule(key), proposed=_new_rule(key), why="usage")],
            actor=ACTOR,
            why="a test",
        ),
        "ApplyCapacity": quota_pb2.ApplyCapacityRequest(actor=ACTOR, is_dry_run=True),
        "ListRules": quota_pb2.ListRulesRequest(key_prefix="hostile"),
        "WatchRules": quota_pb2.ListRulesRequest(key_prefix="hostile"),
        "Acquire": quota_pb2.AcquireRequest(key=lease.key, client_id="hostile", demand=1.0, weight=1.0),
        "Renew": quota_pb2.RenewRequest(lease_id=lease.lease_id, client_id="hostile", demand=1.0, held_rate=1.0),
        "Release": quota_pb2.ReleaseRequest(lease_id=lease.lease_id, client_id="hostile"),
    }


async def _rule(session: Session) -> str:
    key = f"hostile/{uuid.uuid4().hex[:8]}"
    request = quota_pb2.CreateRuleRequest(rule=_new_rule(key), actor=ACTOR, why="a test")
    await session.call("quota", quota_pb2_grpc.QuotaServiceStub, "CreateRule", request)
    return key


def _new_rule(key: str) -> quota_pb2.Rule:
    return quota_pb2.Rule(key=key, limit=1e6, period_s=1.0, unit="requests", owner=ACTOR, tier=3)


async def use_rule(session: Session, key: str, *, is_global: bool = False) -> None:
    """Bring a rule into force that refuses nobody."""
    rule, stub = _new_rule(key), quota_pb2_grpc.QuotaServiceStub
    rule.is_global, rule.safe_share = is_global, 0.5
    await session.call("quota", stub, "CreateRule", quota_pb2.CreateRuleRequest(rule=rule, actor=ACTOR, why="a test"))
    ref = quota_pb2.RuleRef(key=key, actor=ACTOR, why="a test")
    await session.call("quota", stub, "ValidateRule", ref)
    await session.call("quota", stub, "ApproveRule", quota_pb2.ApproveRuleRequest(ref=ref))
    await session.call("quota", stub, "PublishRule", ref)


async def _lease(session: Session) -> quota_pb2.Lease:
    """Of a global rule that nobody else is under."""
    key = f"hostile/lease-{uuid.uuid4().hex[:8]}"
    await use_rule(session, key, is_global=True)
    asked = quota_pb2.AcquireRequest(key=key, client_id="hostile", demand=1.0)
    lease: quota_pb2.Lease = await session.call("quota", quota_pb2_grpc.LeaseServiceStub, "Acquire", asked)
    return lease


async def _tensors(session: Session) -> dict[str, common_pb2.Tensor]:
    """What the root would send to the leaf for these pins."""
    request = indexer_pb2.BatchGetPinsRequest(pin_ids=PINS, columns=["pin_id", "content_vector"])
    answer = await session.call("indexer", indexer_pb2_grpc.FeatureServiceStub, "BatchGetPins", request)
    rows = table_to_batch(answer.pins)
    pins = {pin: PinFeatures(vector, NOW_MS, 0) for pin, vector in _vectors(rows).items()}
    candidates = [RankCandidate(pin, 1.0, row, {"popular": 1.0}) for row, pin in enumerate(PINS)]
    events = [SequenceEvent(f"e{row}", "save", pin, NOW_MS - 1_000 * row, "") for row, pin in enumerate(PINS[:3])]
    tensors = build_tensors(candidates, events, pins, NOW_MS, "home")
    return {name: numpy_to_tensor(array) for name, array in tensors.items()}


def _vectors(rows: Any) -> dict[str, Any]:
    import numpy as np

    return {row["pin_id"]: np.asarray(row["content_vector"], dtype=np.float32) for row in rows.to_pylist()}
