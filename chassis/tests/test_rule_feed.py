"""Rules come into force from the topic or from disk; usage goes home, later if it must."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.errors import Corrupt, Overloaded, Unavailable
from chassis.kafka.bus import Bus, Producer
from chassis.kafka.topic import Topic
from chassis.lifecycle import Part, Tasks
from chassis.protection import Protection, Rule, RuleFeed, UsageReporter, UsageWindow
from chassis.testing import InMemoryBus, eventually

RULES = Topic(
    "rules", key="key", value="text", owner="tests", consumers=("tests",), num_partitions=1, is_compacted=True
)
USAGE = Topic("usage", key="key", value="text", owner="tests", consumers=("tests",), num_partitions=1)


def decode(value: bytes) -> Rule:
    """`key limit` as a rule."""
    try:
        key, limit = value.decode().split()
        return Rule(key, float(limit))
    except ValueError as error:
        raise Corrupt("no rule") from error


def encode(window: UsageWindow) -> bytes:
    return f"{window.key} {window.admitted} {window.service} {window.instance} {window.zone}".encode()


@asynccontextmanager
async def started(part: Part) -> AsyncIterator[None]:
    tasks = Tasks()
    await tasks.__aenter__()
    try:
        await part.start(tasks)
        yield
    finally:
        await part.stop(Deadline.after(1.0))
        await tasks.end()
        await tasks.__aexit__(None, None, None)


async def put(bus: Bus, key: str, value: str | None) -> None:
    await bus.producer().send(RULES, value.encode() if value is not None else None, key=key.encode())


def limits(protection: Protection) -> dict[str, float]:
    return {rule.key: rule.limit for rule in protection.rules}


async def test_feed_follows_changes_and_tombstones(tmp_path: Path) -> None:
    bus, protection = InMemoryBus(), Protection()
    await put(bus, "a", "a 1")
    await put(bus, "a", "a 2")
    async with started(RuleFeed(bus, RULES, decode, protection, tmp_path)):
        assert limits(protection) == {"a": 2.0}
        await put(bus, "b", "b 3")
        await eventually(lambda: limits(protection) == {"a": 2.0, "b": 3.0}, within_s=5)
        await put(bus, "a", None)
        await eventually(lambda: limits(protection) == {"b": 3.0}, within_s=5)


@pytest.mark.parametrize("bad", ["garbage", "a nan", "a -1", "other 5"])
async def test_bad_rule_leaves_its_key_as_it_was_and_others_go_on(tmp_path: Path, bad: str) -> None:
    bus, protection = InMemoryBus(), Protection()
    await put(bus, "a", "a 1")
    feed = RuleFeed(bus, RULES, decode, protection, tmp_path)
    async with started(feed):
        await put(bus, "a", bad)
        await put(bus, "b", "b 3")
        await eventually(lambda: limits(protection) == {"a": 1.0, "b": 3.0}, within_s=5)
    assert feed.num_bad_records == 1


async def test_last_good_rules_are_in_force_without_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.protection.feed.CATCH_UP_S", 0.05)
    bus = InMemoryBus()
    await put(bus, "a", "a 1")
    async with started(RuleFeed(bus, RULES, decode, Protection(), tmp_path)):
        pass
    protection = Protection()
    bus.is_available = False
    async with started(RuleFeed(bus, RULES, decode, protection, tmp_path)):
        assert limits(protection) == {"a": 1.0}


async def test_rule_revoked_while_away_is_dropped(tmp_path: Path) -> None:
    bus = InMemoryBus()
    await put(bus, "a", "a 1")
    async with started(RuleFeed(bus, RULES, decode, Protection(), tmp_path)):
        pass
    protection = Protection()
    async with started(RuleFeed(InMemoryBus(), RULES, decode, protection, tmp_path)):
        await eventually(lambda: limits(protection) == {}, within_s=5)


class FlakyProducer:
    """Keeps what it is sent, when it is there."""

    name = "producer"

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_away = True

    async def start(self, tasks: object) -> None: ...

    async def stop(self, deadline: Deadline) -> None: ...

    async def send(self, topic: Topic, value: bytes | None, **_: object) -> None:
        if self.is_away:
            raise Unavailable("planted")
        self.sent.append(value or b"")


async def test_usage_waits_for_the_topic_and_goes_once() -> None:
    protection = Protection()
    protection.set_rules([Rule("a", 1)])
    producer = FlakyProducer()
    as_producer: Producer = producer
    reporter = UsageReporter(
        protection, as_producer, USAGE, encode, ("blender", "i1", "zone-a"), clock=SYSTEM_CLOCK, window_s=60
    )
    protection.admit("a")
    await reporter.report()
    with pytest.raises(Overloaded):
        protection.admit("a")
    producer.is_away = False
    await reporter.report()
    await reporter.report()
    assert producer.sent == [b"a 1.0 blender i1 zone-a", b"a 0.0 blender i1 zone-a"]
