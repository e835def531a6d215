"""What every bus promises: the real Kafka and the one in memory pass the same tests."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt, Invalid, Unavailable, Verdict
from chassis.kafka.bus import Bus, Handle, Part, Record
from chassis.kafka.partitioner import partition_for
from chassis.kafka.topic import Topic
from chassis.tasks import Crew
from chassis.testing import eventually

WITHIN_S = 15.0
READERS = ["consumer", "pipeline"]


class Dropped(CorkboardError):
    """A record that nobody misses."""

    verdict = Verdict.DROP


class Seen:
    """A handler that remembers; `trouble(record)` may return what to raise for a batch with that record in it."""

    def __init__(self, trouble: Callable[[Record], Exception | None] = lambda _: None) -> None:
        self.records: list[Record] = []
        self.batches: list[list[Record]] = []
        self._trouble = trouble

    async def __call__(self, records: Sequence[Record]) -> None:
        for record in records:
            self.check(record)
        self.records += records
        self.batches.append(list(records))

    def check(self, record: Record) -> None:
        if error := self._trouble(record):
            raise error

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]

    async def until(self, num_records: int) -> None:
        await eventually(lambda: len(self.records) >= num_records, WITHIN_S)


@asynccontextmanager
async def running(*parts: Part, stop_within_s: float = 10.0) -> AsyncIterator[None]:
    """Parts in order; stopped in reverse, also when the block fails."""
    crew = Crew()
    tasks = await crew.open()
    try:
        for part in parts:
            await part.start(tasks)
        yield
    finally:
        for part in reversed(parts):
            await part.stop(Deadline.after(stop_within_s))
        await crew.close()


def reader(bus: Bus, kind: str, topics: Sequence[Topic], group: str, handle: Handle) -> Part:
    """A member of a group, on aiokafka or on Faust."""
    return (bus.consumer if kind == "consumer" else bus.pipeline)("reader", topics, group, handle)


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


async def make_topic(bus: Bus, *, num_partitions: int = 1, is_compacted: bool = False) -> Topic:
    topic = Topic(unique("topic"), "key", "value", "tests", ("tests",), num_partitions, is_compacted=is_compacted)
    await bus.ensure_topics([topic, topic.parked])
    return topic


async def send(bus: Bus, topic: Topic, *values: bytes, partition: int | None = 0) -> None:
    producer = bus.producer()
    async with running(producer):
        for value in values:
            await producer.send(topic, value, partition=partition)


async def read_all(bus: Bus, topic: Topic) -> list[Record]:
    """Everything in a topic, by a table."""
    found: list[Record] = []
    async with running(bus.table("all", topic, found.append)):
        return found


class BusContract:
    """Subclasses give the fixture `bus`."""

    async def test_records_arrive_whole_and_in_order(self, bus: Bus) -> None:
        topic, seen, producer = await make_topic(bus, num_partitions=2), Seen(), bus.producer()
        consumer = bus.consumer("reader", [topic], unique("group"), seen)
        async with running(producer, consumer):
            for number in range(20):
                await producer.send(topic, b"%d" % number, key=b"k", partition=1, headers={"ce_type": "save"})
            await seen.until(20)
        assert seen.values() == [b"%d" % number for number in range(20)]
        first = seen.records[0]
        assert (first.topic, first.partition, first.offset, first.key) == (topic.name, 1, 0, b"k")
        assert first.headers["ce_type"] == "save"
        assert first.timestamp_ms > 1_600_000_000_000

    async def test_a_key_decides_the_partition_as_in_every_kafka_client(self, bus: Bus) -> None:
        topic, producer = await make_topic(bus, num_partitions=5), bus.producer()
        users = [f"user-{number}" for number in range(12)]
        async with running(producer):
            for user in users:
                await producer.send(topic, b"x", key=user.encode())
        found = {(record.key or b"").decode(): record.partition for record in await read_all(bus, topic)}
        assert found == {user: partition_for(user, 5) for user in users}

    @pytest.mark.parametrize("kind", READERS)
    async def test_the_next_member_goes_on_where_the_last_one_stopped(self, bus: Bus, kind: str) -> None:
        topic, group = await make_topic(bus, num_partitions=2), unique("group")
        await send(bus, topic, b"a", b"b")
        await send(bus, topic, b"c", partition=1)
        first, second = Seen(), Seen()
        async with running(reader(bus, kind, [topic], group, first)):
            await first.until(3)
        await send(bus, topic, b"d")
        async with running(reader(bus, kind, [topic], group, second)):
            await second.until(1)
        assert sorted(map(str, first.values())) == sorted(map(str, [b"a", b"b", b"c"]))
        assert second.values() == [b"d"]

    async def test_each_group_gets_every_record(self, bus: Bus) -> None:
        topic, one, other = await make_topic(bus), Seen(), Seen()
        await send(bus, topic, b"a", b"b")
        consumers = [bus.consumer(f"reader {n}", [topic], unique("group"), seen) for n, seen in enumerate((one, other))]
        async with running(*consumers):
            await one.until(2)
            await other.until(2)
        assert one.values() == other.values() == [b"a", b"b"]

    async def test_a_batch_is_in_order_and_no_longer_than_asked(self, bus: Bus) -> None:
        topic, seen = await make_topic(bus, num_partitions=2), Seen()
        for partition in (0, 1):
            await send(bus, topic, *[b"%d" % number for number in range(10)], partition=partition)
        async with running(bus.consumer("reader", [topic], unique("group"), seen, max_records=4)):
            await seen.until(20)
        assert max(len(batch) for batch in seen.batches) <= 4
        by_partition = defaultdict(list)
        for record in seen.records:
            by_partition[record.partition].append(record.offset)
        assert by_partition == {0: list(range(10)), 1: list(range(10))}

    @pytest.mark.parametrize("kind", READERS)
    async def test_what_may_succeed_later_is_tried_again_and_keeps_its_place(self, bus: Bus, kind: str) -> None:
        topic, failures = await make_topic(bus), iter([Unavailable("the store is away")] * 3)
        seen = Seen(lambda record: next(failures, None) if record.value == b"a" else None)
        await send(bus, topic, b"a", b"b")
        async with running(reader(bus, kind, [topic], unique("group"), seen)):
            await seen.until(2)
        assert seen.values() == [b"a", b"b"]
        assert await read_all(bus, topic.parked) == []

    @pytest.mark.parametrize("error", [Corrupt("no Arrow stream"), KeyError("a bug")])
    @pytest.mark.parametrize("kind", READERS)
    async def test_poison_is_parked_alone_and_the_rest_goes_on(self, bus: Bus, kind: str, error: Exception) -> None:
        topic, group = await make_topic(bus), unique("group")
        seen = Seen(lambda record: error if (record.value or b"").startswith(b"bad") else None)
        producer = bus.producer()
        async with running(producer):
            for value in (b"a", b"bad 1", b"b", b"c", b"bad 2", b"d"):
                await producer.send(topic, value, key=b"k", partition=0, headers={"ce_id": value.decode()})
        async with running(reader(bus, kind, [topic], group, seen)):
            await seen.until(4)
        assert seen.values() == [b"a", b"b", b"c", b"d"]
        parked = await read_all(bus, topic.parked)
        assert [(record.key, record.value) for record in parked] == [(b"k", b"bad 1"), (b"k", b"bad 2")]
        headers = parked[0].headers
        assert headers["parked-from"] == f"{topic.name}/0/1"
        assert headers["parked-why"].startswith(type(error).__name__)
        assert headers["ce_id"] == "bad 1"
        assert int(headers["parked-when-ms"]) > 1_600_000_000_000
        assert headers["parked-attempt"] == "1"
        assert headers["parked-where"]

    async def test_poison_that_a_check_finds_does_not_split_what_is_left(self, bus: Bus) -> None:
        topic = await make_topic(bus)
        seen = Seen(lambda record: Invalid("poison") if b"bad" in (record.value or b"") else None)
        await send(bus, topic, b"a", b"bad 1", b"b", b"bad 2", b"c", b"bad 3", b"d")
        async with running(bus.consumer("reader", [topic], unique("group"), seen, check=seen.check)):
            await seen.until(4)
        assert [[record.value for record in batch] for batch in seen.batches] == [[b"a", b"b", b"c", b"d"]]
        assert [record.value for record in await read_all(bus, topic.parked)] == [b"bad 1", b"bad 2", b"bad 3"]

    async def test_parked_records_do_not_come_again(self, bus: Bus) -> None:
        topic, group = await make_topic(bus), unique("group")
        await send(bus, topic, b"bad", b"a")
        first = Seen(lambda record: Invalid("no") if record.value == b"bad" else None)
        async with running(bus.consumer("reader", [topic], group, first)):
            await first.until(1)
        second = Seen()
        await send(bus, topic, b"b")
        async with running(bus.consumer("reader", [topic], group, second)):
            await second.until(1)
        assert second.values() == [b"b"]

    async def test_what_nobody_misses_is_dropped(self, bus: Bus) -> None:
        topic = await make_topic(bus)
        seen = Seen(lambda record: Dropped("late") if record.value == b"late" else None)
        await send(bus, topic, b"a", b"late", b"b")
        async with running(bus.consumer("reader", [topic], unique("group"), seen)):
            await seen.until(2)
        assert seen.values() == [b"a", b"b"]
        assert await read_all(bus, topic.parked) == []

    @pytest.mark.parametrize("kind", READERS)
    async def test_a_stuck_partition_stalls_no_other(self, bus: Bus, kind: str) -> None:
        topic = await make_topic(bus, num_partitions=2)
        seen = Seen(lambda record: Unavailable("its store is away") if record.partition == 0 else None)
        await send(bus, topic, b"stuck", partition=0)
        async with running(reader(bus, kind, [topic], unique("group"), seen)):
            await send(bus, topic, b"a", b"b", partition=1)
            await seen.until(2)
        assert seen.values() == [b"a", b"b"]

    @pytest.mark.parametrize("kind", READERS)
    async def test_what_waits_is_handled_together_whatever_its_partition(self, bus: Bus, kind: str) -> None:
        topic = await make_topic(bus, num_partitions=3)
        for partition in range(3):
            await send(bus, topic, b"a", b"b", partition=partition)
        slow = Slow(0.3)
        async with running(reader(bus, kind, [topic], unique("group"), slow)):
            await eventually(lambda: slow.num_done == 6, WITHIN_S)
        assert slow.num_calls <= 3

    async def test_given_offsets_replace_committed_ones(self, bus: Bus) -> None:
        topic, group, first, second = await make_topic(bus, num_partitions=2), unique("group"), Seen(), Seen()
        await send(bus, topic, b"a", b"b", b"c", partition=0)
        await send(bus, topic, b"x", partition=1)
        async with running(bus.consumer("reader", [topic], group, first)):
            await first.until(4)

        async def offsets() -> Mapping[tuple[str, int], int]:
            return {(topic.name, 0): 1}

        async with running(bus.consumer("reader", [topic], group, second, start_offsets=offsets)):
            await second.until(2)
        assert second.values() == [b"b", b"c"]  # and partition 1 goes on from what is committed

    async def test_nothing_is_read_before_the_given_offsets_are_known(self, bus: Bus) -> None:
        topic, seen = await make_topic(bus), Seen()
        await send(bus, topic, b"a", b"b", b"c")
        asked = 0

        async def offsets() -> Mapping[tuple[str, int], int]:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.6)
            if asked == 1:
                raise Unavailable("the catalogue is away")
            return {(topic.name, 0): 2}

        async with running(bus.consumer("reader", [topic], unique("group"), seen, start_offsets=offsets)):
            await seen.until(1)
            await send(bus, topic, b"d")
            await seen.until(2)
        assert seen.values() == [b"c", b"d"]
        assert asked >= 2

    @pytest.mark.parametrize("kind", READERS)
    async def test_a_stop_lets_work_in_hand_finish_and_commits_it(self, bus: Bus, kind: str) -> None:
        topic, group = await make_topic(bus), unique("group")
        slow = Slow(0.5)
        await send(bus, topic, b"a")
        async with running(reader(bus, kind, [topic], group, slow)):
            await asyncio.wait_for(slow.has_begun.wait(), WITHIN_S)
        assert slow.num_done == 1
        await send(bus, topic, b"b")
        assert await self._next(bus, kind, topic, group) == b"b"

    @pytest.mark.parametrize("kind", READERS)
    async def test_work_cut_by_a_stop_comes_again(self, bus: Bus, kind: str) -> None:
        topic, group = await make_topic(bus), unique("group")
        slow = Slow(30.0)
        await send(bus, topic, b"a")
        async with running(reader(bus, kind, [topic], group, slow), stop_within_s=1.0):
            await asyncio.wait_for(slow.has_begun.wait(), WITHIN_S)
        assert slow.num_done == 0
        assert await self._next(bus, kind, topic, group) == b"a"

    async def test_parts_stop_twice_and_without_a_start(self, bus: Bus) -> None:
        topic = await make_topic(bus)
        parts = [bus.producer(), bus.table("t", topic, lambda _: None)]
        parts += [reader(bus, kind, [topic], unique("group"), Seen()) for kind in READERS]
        for part in parts:
            await part.stop(Deadline.after(1.0))
        async with running(*parts):
            pass
        for part in parts:
            await part.stop(Deadline.after(1.0))

    async def test_a_table_is_whole_when_it_has_started_and_then_follows(self, bus: Bus) -> None:
        topic, producer, found = await make_topic(bus, num_partitions=3, is_compacted=True), bus.producer(), {}

        def apply(record: Record) -> None:
            found[record.key] = record.value

        async with running(producer):
            for number in range(30):
                await producer.send(topic, b"old", key=b"%d" % number)
            await producer.send(topic, None, key=b"7")
            async with running(bus.table("t", topic, apply)):
                assert len(found) == 30
                assert found[b"7"] is None and found[b"8"] == b"old"
                await producer.send(topic, b"new", key=b"8")
                await eventually(lambda: found[b"8"] == b"new", WITHIN_S)

    async def test_what_kafka_would_never_take_is_invalid_and_harms_no_other(self, bus: Bus) -> None:
        topic, producer = await make_topic(bus, is_compacted=True), bus.producer()
        async with running(producer):
            with pytest.raises(Invalid, match="need a key"):
                await producer.send(topic, b"x")
            with pytest.raises(Invalid, match="needs a key or a value"):
                await producer.send(replace(topic, is_compacted=False), None)
            with pytest.raises(Invalid, match="too large"):
                await producer.send(topic, bytes(9 << 20), key=b"k")
            await producer.send(topic, b"good", key=b"k")
        assert [record.value for record in await read_all(bus, topic)] == [b"good"]

    async def test_a_table_of_an_empty_topic_starts(self, bus: Bus) -> None:
        topic = await make_topic(bus, is_compacted=True)
        assert await read_all(bus, topic) == []

    async def test_a_record_that_a_table_cannot_apply_hides_no_other(self, bus: Bus) -> None:
        topic, found, producer = await make_topic(bus, is_compacted=True), [], bus.producer()
        async with running(producer):
            await producer.send(topic, b"bad", key=b"1")
            await producer.send(topic, b"good", key=b"2")

        async def apply(record: Record) -> None:
            if record.value == b"bad":
                raise Corrupt("no rule")
            found.append(record.value)

        async with running(bus.table("t", topic, apply)):
            assert found == [b"good"]

    async def test_end_offsets_say_how_much_there_is(self, bus: Bus) -> None:
        topic = await make_topic(bus, num_partitions=2)
        await send(bus, topic, b"a", b"b", partition=1)
        assert await bus.end_offsets([topic]) == {(topic.name, 0): 0, (topic.name, 1): 2}

    async def test_topics_that_are_there_are_left_alone(self, bus: Bus) -> None:
        topic = await make_topic(bus)
        await send(bus, topic, b"a")
        await bus.ensure_topics([topic])
        assert [record.value for record in await read_all(bus, topic)] == [b"a"]

    async def test_many_partitions_lose_nothing_double_nothing_and_keep_order(self, bus: Bus) -> None:
        topic, seen, producer = await make_topic(bus, num_partitions=4), Seen(), bus.producer()
        consumer = bus.consumer("reader", [topic], unique("group"), seen, max_records=7)
        async with running(producer, consumer):
            sends: list[Awaitable[None]] = []
            for number in range(200):
                sends.append(producer.send(topic, b"%d" % number, partition=number % 4))
            await asyncio.gather(*sends)
            await seen.until(200)
        assert sorted(int(value or b"") for value in seen.values()) == list(range(200))
        for partition in range(4):
            offsets = [record.offset for record in seen.records if record.partition == partition]
            assert offsets == list(range(50))

    async def _next(self, bus: Bus, kind: str, topic: Topic, group: str) -> bytes | None:
        """The first record that the group's next member gets."""
        seen = Seen()
        async with running(reader(bus, kind, [topic], group, seen)):
            await seen.until(1)
        return seen.records[0].value


class Slow:
    """A handler whose effect takes `duration_s`."""

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self.has_begun = asyncio.Event()
        self.num_done = 0
        self.num_calls = 0

    async def __call__(self, records: Sequence[Record]) -> None:
        self.num_calls += 1
        self.has_begun.set()
        await asyncio.sleep(self._duration_s)
        self.num_done += len(records)
