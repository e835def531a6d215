"""mTLS over real gRPC: who gets in, whom the table lets do what, and certificates that change under load."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from chassis.config import ServiceConfig
from chassis.errors import Invalid, PermissionDenied, Unauthenticated, Unavailable, Verdict
from chassis.grpc import probe
from chassis.grpc.access import AccessTable, Identities, parse_aliases
from chassis.grpc.client import ChannelPool
from chassis.grpc.server import GrpcDoor
from chassis.metrics import Metrics
from chassis.shell import Shell
from chassis.testing import InMemoryBus, eventually
from chassis.testing.authority import LocalAuthority
from chassis.tests.grpc_world import (
    GET_RULE,
    SERVICE,
    ScriptedQuota,
    answer_with_key,
    calling,
    counted,
    get_rule,
    serving,
)
from chassis.tests.lives import started
from chassis.tests.test_shell import CONTRACTS
from chassis.tls import CertificatePaths, CertificateSource, read_certificates
from protos.quota.v1 import quota_pb2, quota_pb2_grpc

PREFIX = "spiffe://corkboard/ns/feeds/sa/"
QUOTA, BLENDER = PREFIX + "quota", PREFIX + "blender"
TABLE = {GET_RULE: frozenset({"blender", "surface"})}
LOOK_EVERY_S = 0.02
ALIASES = {"spiffe://web.example/gateway": "surface"}


@dataclass
class World:
    """A folder of certificates for the server and for its caller."""

    folder: Path
    authority: LocalAuthority = field(default_factory=LocalAuthority)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))

    def write(self, who: str, *uris: str, by: LocalAuthority | None = None, **options: object) -> CertificatePaths:
        return (by or self.authority).write(self.folder / who, *uris, **options)  # type: ignore[arg-type]

    @asynccontextmanager
    async def serving(self, paths: CertificatePaths | None = None) -> AsyncIterator[GrpcDoor]:
        source = CertificateSource(paths or self.write("quota", QUOTA), self.metrics, look_every_s=LOOK_EVERY_S)
        access = AccessTable(TABLE, Identities(PREFIX, ALIASES), self.metrics)
        async with (
            started(source),
            serving(ScriptedQuota(), metrics=self.metrics, certificates=source, access=access) as door,
        ):
            yield door

    @asynccontextmanager
    async def calling(self, door: GrpcDoor, paths: CertificatePaths) -> AsyncIterator[ChannelPool]:
        source = CertificateSource(paths, Metrics("caller"), look_every_s=LOOK_EVERY_S)
        async with started(source), calling(door.address, name="quota", certificates=source) as pool:
            yield pool

    async def call(self, door: GrpcDoor, *uris: str) -> str:
        async with self.calling(door, self.write("caller", *uris)) as pool:
            return await get_rule(pool)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_caller_of_the_table_is_answered(world: World) -> None:
    async with world.serving() as door:
        assert await world.call(door, BLENDER) == "a/b"
        assert await world.call(door, "spiffe://web.example/gateway") == "a/b"


@pytest.mark.parametrize(
    "spiffe_id", [PREFIX + "cg", PREFIX + "blender/x", "spiffe://corkboard/ns/other/sa/blender", "spiffe://x/surface"]
)
async def test_a_caller_outside_of_the_table_is_denied_by_name_and_counted(world: World, spiffe_id: str) -> None:
    caller = spiffe_id.removeprefix(PREFIX)
    async with world.serving() as door:
        with pytest.raises(PermissionDenied) as caught:
            await world.call(door, spiffe_id)
        assert caught.value.message == f"quota: {caller} may not call {GET_RULE}"
        assert (caught.value.field, caught.value.reason) == ("caller", "caller_refused")
        assert caught.value.verdict is Verdict.RETRY, "a record is not to be parked for a wrong table"
        assert counted(world.metrics, "grpc_server_refused_callers_total", method=GET_RULE, caller=caller) == 1
        assert await world.call(door, BLENDER) == "a/b"


@pytest.mark.parametrize("uris", [(), (BLENDER, PREFIX + "surface"), ("https://example.org/blender",)])
async def test_a_certificate_that_names_no_workload_is_unauthenticated(world: World, uris: tuple[str, ...]) -> None:
    async with world.serving() as door:
        with pytest.raises(Unauthenticated, match=GET_RULE):
            await world.call(door, *uris)
        assert counted(world.metrics, "grpc_server_refused_callers_total", method=GET_RULE, caller="none") == 1


async def test_a_method_that_the_table_lacks_is_denied_to_all(world: World) -> None:
    async with world.serving() as door, world.calling(door, world.write("caller", BLENDER)) as pool:
        with pytest.raises(PermissionDenied, match="blender may not call"):
            await pool.call(quota_pb2_grpc.QuotaServiceStub, "History", quota_pb2.RuleRef(), timeout_s=2.0)


async def test_no_certificate_and_no_tls_do_not_get_in(world: World) -> None:
    async with world.serving() as door:
        strangers = [grpc.ssl_channel_credentials(world.authority.pem)]
        channels = [aio.secure_channel(door.address, one) for one in strangers] + [aio.insecure_channel(door.address)]
        for channel in channels:
            async with channel:
                with pytest.raises(aio.AioRpcError) as caught:
                    await _call_raw(channel)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await world.call(door, BLENDER) == "a/b"
        assert counted(world.metrics, "grpc_server_calls_total", method=GET_RULE, code="OK") == 1


async def _call_raw(channel: aio.Channel) -> None:
    call: Any = channel.unary_unary(f"/{GET_RULE}")
    await call(b"", timeout=2.0)


async def test_a_certificate_of_a_foreign_authority_does_not_get_in(world: World) -> None:
    foreign = LocalAuthority()
    paths = world.write("caller", BLENDER, by=foreign, trusts=(world.authority,))
    async with world.serving() as door, world.calling(door, paths) as pool:
        with pytest.raises(Unavailable):
            await get_rule(pool)


async def test_an_expired_certificate_does_not_get_in(world: World) -> None:
    chain, key = world.authority.issue(BLENDER, valid_for=timedelta(seconds=-1))
    credentials = grpc.ssl_channel_credentials(world.authority.pem, key, chain)
    async with world.serving() as door, aio.secure_channel(door.address, credentials) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await _call_raw(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_a_foreign_authority_is_not_called(world: World) -> None:
    foreign = LocalAuthority()
    paths = world.write("quota", QUOTA, by=foreign, trusts=(world.authority,))
    async with world.serving(paths) as door:
        with pytest.raises(Unavailable):
            await world.call(door, BLENDER)
    assert counted(world.metrics, "grpc_server_calls_total", method=GET_RULE, code="OK") == 0


async def test_a_new_authority_takes_over_under_load_without_a_failed_call(world: World) -> None:
    old, new = world.authority, LocalAuthority()
    both = (old, new)
    num_calls, is_over = 0, False

    async def load(pool: ChannelPool) -> None:
        nonlocal num_calls
        while not is_over:
            assert await get_rule(pool) == "a/b"
            num_calls += 1

    async def both_sides(by: LocalAuthority, trusts: tuple[LocalAuthority, ...]) -> None:
        reached, connected = num_calls, len(seen)
        world.write("quota", QUOTA, by=by, trusts=trusts)
        world.write("caller", BLENDER, by=by, trusts=trusts)
        await eventually(lambda: num_calls > reached + 20 and len(seen) > connected)

    paths = world.write("caller", BLENDER)
    async with world.serving() as door, world.calling(door, paths) as pool:
        seen = _channels_of(pool)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(load(pool))
            await eventually(lambda: num_calls > 20)
            await both_sides(old, both)
            await both_sides(new, both)
            await both_sides(new, (new,))
            is_over = True
        stranger = world.write("stranger", BLENDER, by=old, trusts=both)
        async with world.calling(door, stranger) as pool_of_old:
            with pytest.raises(Unavailable):
                await get_rule(pool_of_old)
    assert counted(world.metrics, "tls_reloads_total", outcome="applied") == 3


def _channels_of(pool: ChannelPool) -> list[object]:
    """Grows with each channel that the pool opens."""
    (endpoint,) = pool._caller._endpoints
    opened: list[object] = []
    make = endpoint._open

    def noted() -> object:
        opened.append(make())
        return opened[-1]

    endpoint._open = noted  # type: ignore[method-assign]
    return opened


async def test_a_running_call_ends_on_the_old_connection(world: World) -> None:
    release = asyncio.Event()

    async def slow(request: object) -> object:
        await release.wait()
        return await answer_with_key(request)

    servicer = ScriptedQuota(slow)
    source = CertificateSource(world.write("quota", QUOTA), world.metrics, look_every_s=LOOK_EVERY_S)
    caller = world.write("caller", BLENDER)
    async with (
        serving(servicer, certificates=source) as door,
        world.calling(door, caller) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(get_rule(pool, timeout_s=10.0))
        await servicer.wait_for_calls(1)
        world.write("caller", BLENDER)
        (endpoint,) = pool._caller._endpoints
        await eventually(lambda: len(endpoint._retired) == 1)
        assert endpoint.in_flight == 1
        release.set()
        assert await call == "a/b"
        await eventually(lambda: not endpoint._retired)


DAMAGES: dict[str, Callable[[World, CertificatePaths], object]] = {
    "key of another": lambda world, paths: Path(paths.key).write_bytes(world.authority.issue(QUOTA)[1]),
    "no certificate": lambda _, paths: Path(paths.chain).write_text("nothing"),
    "gone": lambda _, paths: Path(paths.authorities).unlink(),
    "expired": lambda world, _: world.write("quota", QUOTA, valid_for=timedelta(seconds=-1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_bad_change_is_counted_once_and_the_old_certificate_stays(world: World, damage: str) -> None:
    paths = world.write("quota", QUOTA)
    async with world.serving(paths) as door:
        DAMAGES[damage](world, paths)
        await eventually(lambda: counted(world.metrics, "tls_reloads_total", outcome="refused") == 1)
        await asyncio.sleep(5 * LOOK_EVERY_S)
        assert counted(world.metrics, "tls_reloads_total", outcome="refused") == 1
        assert await world.call(door, BLENDER) == "a/b"


def test_the_first_certificates_must_be_good_and_the_file_is_named(world: World) -> None:
    paths = world.write("quota", QUOTA)
    Path(paths.key).write_bytes(world.authority.issue(QUOTA)[1])
    with pytest.raises(Invalid, match=r"tls\.key is not the key of"):
        CertificateSource(paths, world.metrics)
    with pytest.raises(Invalid, match=r"cannot be read"):
        read_certificates(CertificatePaths("/nowhere/tls.crt", paths.key, paths.authorities))
    with pytest.raises(Invalid, match=r"expired at"):
        read_certificates(world.write("late", QUOTA, valid_for=timedelta(days=-1)))


def test_the_end_of_the_certificate_is_a_metric(world: World) -> None:
    source = CertificateSource(world.write("quota", QUOTA), world.metrics)
    assert counted(world.metrics, "tls_certificate_expiry_timestamp_seconds") == source.current.expires_at_s


async def test_the_probe_shows_its_certificate(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("probe", PREFIX + "quota")
    async with world.serving() as door:
        assert await asyncio.to_thread(probe.main, [door.address, str(world.folder / "probe")]) == 0
        assert capsys.readouterr().out == f"{door.address} SERVING\n"
        assert await asyncio.to_thread(probe.main, [door.address]) == 1
        assert "did not answer" in capsys.readouterr().err


async def test_every_part_of_a_service_uses_the_files_of_its_settings(world: World) -> None:
    paths = world.write("quota", QUOTA)
    config = ServiceConfig(
        tls_enabled=True,
        tls_cert_path=paths.chain,
        tls_key_path=paths.key,
        tls_ca_path=paths.authorities,
        tls_identity_prefix=PREFIX,
        state_dir=str(world.folder),
    )
    contracts = replace(CONTRACTS, callers={GET_RULE: frozenset({"quota"})})
    shell = Shell("test", config, contracts, bus=InMemoryBus())
    door = shell.grpc_door([(quota_pb2_grpc.add_QuotaServiceServicer_to_server, ScriptedQuota(), SERVICE)])
    async with shell.service(parts=[], doors=[door]):
        assert await get_rule(shell.channel(door.address), "self") == "self"
        with pytest.raises(PermissionDenied, match="blender may not call"):
            await world.call(door, BLENDER)


def test_aliases_are_read_and_a_bad_one_is_named() -> None:
    assert parse_aliases("surface=spiffe://a/b, people=spiffe://c/d") == {
        "spiffe://a/b": "surface",
        "spiffe://c/d": "people",
    }
    assert parse_aliases("") == {}
    with pytest.raises(Invalid, match="https"):
        parse_aliases("surface=https://a/b")
