"""Each dependency dead or paused in turn: GetFeed still answers in its deadline and names what is missing."""

import signal
import time

import pytest

from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import feed_request, get_feed
from protos.blender.v1 import blender_pb2

DEADLINE_S = 0.250
SLACK_S = 0.100  # the client's and the wire's part on a busy machine; blender itself answers within deadline + 20 ms
NUM_FEEDS = 12

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NAMED = {
    "cg": {"retrieve", "cg"},
    "ranker": {"rank", "ranker"},
    "ranker-leaf": {"ranker_leaf", "rank", "ranker"},
    "indexer": {"hydrate_user", "indexer", "sequence", "features", "history"},
    "valkey": {"hydrate_user", "indexer", "session", "sequence", "features", "history"},
}


async def feeds_without(session: Session, users: range) -> list[tuple[float, blender_pb2.GetFeedResponse]]:
    answers = []
    for number in users:
        start_s = time.perf_counter()
        feed = await get_feed(session, feed_request(f"person-{number:05d}"), timeout_s=5.0)
        answers.append((time.perf_counter() - start_s, feed))
    return answers


def check(answers: list[tuple[float, blender_pb2.GetFeedResponse]], part: str) -> None:
    assert all(len(feed.items) == 10 for _, feed in answers)
    slowest_s = max(duration_s for duration_s, _ in answers)
    assert slowest_s < DEADLINE_S + SLACK_S, f"slowest answer {slowest_s * 1000:.0f} ms"
    if part not in NAMED:
        return
    for _, feed in answers:
        components = {item.component for item in feed.degradations}
        assert any(wanted in component for component in components for wanted in NAMED[part]), (
            f"without {part} the answer names only {components}"
        )


async def healthy(session: Session) -> bool:
    return not (await get_feed(session, feed_request("person-00055"))).degradations


@pytest.mark.parametrize("part", ["cg", "ranker", "ranker-leaf", "indexer", "quota", "valkey", "kafka-1"])
def test_a_stopped_part_is_named_and_the_feed_comes(house: House, part: str) -> None:
    async def ask(session: Session) -> None:
        await get_feed(session, feed_request("person-00054"))
        check(await feeds_without(session, range(40, 40 + NUM_FEEDS)), part)

    async def recover(session: Session) -> None:
        await eventually(lambda: healthy(session), 40.0, every_s=0.5)

    house.stop(part)
    try:
        house.run(ask)
    finally:
        house.start(part)
        house.wait_ready(part)
    for name in ("indexer", "cg", "ranker", "ranker-leaf", "blender", "enrich"):
        house.wait_ready(name)
    house.run(recover)


@pytest.mark.parametrize("part", ["cg", "ranker", "ranker-leaf", "indexer"])
def test_a_paused_part_is_named_and_the_feed_comes(house: House, part: str) -> None:
    async def ask(session: Session) -> None:
        check(await feeds_without(session, range(40, 40 + NUM_FEEDS)), part)

    async def recover(session: Session) -> None:
        await eventually(lambda: healthy(session), 40.0, every_s=0.5)

    pid = house.pid(part)
    house.signal(part, signal.SIGSTOP)
    try:
        house.run(ask)
    finally:
        assert house.pid(part) == pid
        house.signal(part, signal.SIGCONT)
    house.run(recover)


def test_all_peers_of_blender_gone_still_gives_a_feed(house: House) -> None:
    parts = ("cg", "ranker", "indexer")

    async def ask(session: Session) -> None:
        check(await feeds_without(session, range(40, 46)), "cg")

    async def recover(session: Session) -> None:
        await eventually(lambda: healthy(session), 40.0, every_s=0.5)

    for part in parts:
        house.stop(part)
    try:
        house.run(ask)
    finally:
        for part in parts:
            house.start(part)
        for part in parts:
            house.wait_ready(part)
    house.run(recover)
