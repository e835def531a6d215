"""A whole Corkboard over mTLS: it works as ever, lets nobody do what the table does not give them, and goes on while an
authority takes the place of another."""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from chassis.testing.authority import LocalAuthority
from corkboard.local.certificates import PREFIX, paths_of
from corkboard.session import Session, connected
from e2e.hostile.requests import METHODS, process_of
from e2e.hostile.watch import Watch, counted
from e2e.house import House, claimed_port_base, eventually
from e2e.surface import event, feed_request, get_feed, publish, sequence
from protos.callers import CALLERS, OUTSIDE, WORKLOADS
from protos.ingest.v1 import ingest_pb2
from protos.tests.test_callers import methods, name_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SERVING = ("ingest", "enrich", "indexer", "cg", "ranker", "ranker-leaf", "blender", "quota")
TAKEN_WITHIN_S = 8.0  # files are looked at every 5 s
STREAMS = {name_of(method) for method in methods() if method.server_streaming}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with claimed_port_base() as port_base:
        house = House(Path(tmp_path_factory.mktemp("secured")), port_base)
        house.up("--tls")
        try:
            house.command("world", "--pins", "300", "--people", "30", "--json")
            house.command("train", "all", "--json", timeout_s=240.0)
            yield house
        finally:
            house.down()


def certificates(house: House) -> Path:
    folder = house.endpoints.certificates
    assert folder is not None
    return folder


def channel(house: House, process: str, who: str) -> aio.Channel:
    """As an identity, with what lies in its folder now."""
    paths = paths_of(certificates(house), who)
    pems = [Path(path).read_bytes() for path in (paths.authorities, paths.key, paths.chain)]
    return aio.secure_channel(house.endpoints.address(process), grpc.ssl_channel_credentials(*pems))


async def code_of(channel: aio.Channel, method: str) -> tuple[grpc.StatusCode, str]:
    make: Any = channel.unary_stream if method in STREAMS else channel.unary_unary
    call = make(f"/{method}")(b"", timeout=1.0 if method in STREAMS else 10.0)
    try:
        await (call.read() if method in STREAMS else call)
    except aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def test_a_save_changes_a_full_feed_and_every_part_of_it_is_there(secured: House) -> None:
    async def work(session: Session) -> None:
        user, saved = "person-00003", event("person-00003", "save", "pin-000002")
        assert (await publish(session, [saved]))[0].outcome == ingest_pb2.OUTCOME_ACCEPTED

        async def is_readable() -> bool:
            return any(row[1] == saved.event_id for row in await sequence(session, user))

        async def is_whole() -> bool:  # not late, as the first ones of a busy machine are
            feed = await get_feed(session, feed_request(user))
            return len(feed.items) == 10 and not feed.degradations

        await eventually(is_readable, within_s=20.0)
        await eventually(is_whole, within_s=20.0)

    secured.run(work)
    for process in SERVING:
        refused = counted(secured, process, "grpc_server_refused_callers_total")
        assert refused == 0, f"{process} refused one of our own: the table lacks a caller"


def test_commands_of_every_kind_of_outsider_work(secured: House) -> None:
    key = f"people/{uuid.uuid4().hex[:8]}"
    secured.command("feed", "person-00004", "--explain")
    secured.command("publish", "person-00004", "save", "pin-000003")
    secured.command("sequence", "person-00004", "engagement")
    secured.command("quota", "create", key, "--limit", "5", "--actor", "ann")
    secured.command("status")


def test_every_identity_may_call_exactly_what_the_table_says_of_every_process(secured: House) -> None:
    async def work() -> list[str]:
        wrong = []
        for method in METHODS:
            callers = CALLERS[method]
            for who in (*WORKLOADS, *OUTSIDE):
                async with channel(secured, process_of(method), who) as door:
                    code, words = await code_of(door, method)
                is_denied = code is grpc.StatusCode.PERMISSION_DENIED and words == f"{who} may not call {method}"
                if is_denied != (who not in callers) or code is grpc.StatusCode.UNAUTHENTICATED:
                    wrong.append(f"{who} on {method}: {code.name} {words}")
        return wrong

    assert asyncio.run(work()) == []


def test_plaintext_and_strangers_do_not_get_in(secured: House, tmp_path: Path) -> None:
    stranger = LocalAuthority().write(tmp_path, PREFIX + "blender")
    pems = [Path(path).read_bytes() for path in (stranger.key, stranger.chain)]
    trusted = Path(paths_of(certificates(secured), "blender").authorities).read_bytes()

    async def work() -> None:
        for process in SERVING:
            address = secured.endpoints.address(process)
            foreign = aio.secure_channel(address, grpc.ssl_channel_credentials(trusted, *pems))
            for door in (foreign, aio.insecure_channel(address)):
                async with door:
                    code, _ = await code_of(door, "grpc.health.v1.Health/Check")
                assert code is grpc.StatusCode.UNAVAILABLE, process

    asyncio.run(work())


class Handover:
    """From the authority of the start to another one, in the three steps of docs/security.md."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._new = folder, LocalAuthority()
        self._old_pem = Path(paths_of(folder, "blender").authorities).read_bytes()

    def steps(self) -> Sequence[Callable[[], None]]:
        """Trust both; issue by the new one; trust only that."""
        both = self._old_pem + self._new.pem
        return (lambda: self._trust(both), lambda: self._issue(both), lambda: self._trust(self._new.pem))

    def _issue(self, trusted: bytes) -> None:
        for name in (*WORKLOADS, *OUTSIDE):
            self._new.write(self._folder / name, PREFIX + name)
        self._trust(trusted)

    def _trust(self, pem: bytes) -> None:
        for name in (*WORKLOADS, *OUTSIDE):
            Path(paths_of(self._folder, name).authorities).write_bytes(pem)


async def feeds_during(house: House, steps: Sequence[Callable[[], None]]) -> list[Any]:
    """What four surfaces are answered while the steps are taken."""
    feeds, is_over = list[Any](), asyncio.Event()

    async def surface() -> None:
        """As a product would: a session for each few feeds, so that it has today's certificate, too."""
        while not is_over.is_set():
            async with connected(house.endpoints) as session:
                for _ in range(5):
                    feeds.append(await get_feed(session, feed_request(f"reader-{uuid.uuid4().hex}"), timeout_s=2.0))
                    await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(surface())
        for step in steps:
            await asyncio.to_thread(step)
            await asyncio.sleep(TAKEN_WITHIN_S)
        is_over.set()
    return feeds


def test_another_authority_takes_over_under_load_without_a_failed_feed(secured: House) -> None:
    watch = Watch(secured, SERVING)
    feeds = asyncio.run(feeds_during(secured, Handover(certificates(secured)).steps()))
    assert len(feeds) > 50, "there was no load to speak of"
    assert [len(feed.items) for feed in feeds if len(feed.items) != 10] == []
    assert [one for feed in feeds for one in feed.degradations if one.reason == "unavailable"] == []
    assert watch.restarted() == {}
    for process in SERVING:
        assert counted(secured, process, "tls_reloads_total", outcome="applied") >= 3
