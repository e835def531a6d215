"""The lake holds every record once, whatever is cut between its commit and Kafka's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chassis.errors import Conflict, Unavailable
from chassis.kafka import arrow
from chassis.kafka.bus import Part
from chassis.lifecycle import Tasks
from chassis.metrics import Metrics
from chassis.protection.usage import UsageWindow
from chassis.testing import InMemoryBus, eventually
from protos import topics
from protos.blender.v1 import blender_pb2
from protos.common.v1.common_pb2 import DTYPE_FLOAT32, NamedTensors, Tensor
from protos.ranker.v1 import ranker_pb2
from protos.rules import encode_usage
from services.indexer.app.write_lake import CommitLimits, LakeDrain, LakeWriter
from services.indexer.domain.lake_rows import Coverage, Covered, LakeRecord, Table, dated, extended, is_covered
from services.indexer.inbound.kafka_lake import LAKE_GROUP, LAKE_TOPICS, MAX_RECORDS, LakeConsumer
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.samples import envelope, event

SOON = CommitLimits(interval_s=0.02, num_bytes=1 << 30, num_events=1 << 30)
NEVER = CommitLimits(interval_s=3600, num_bytes=1 << 30, num_events=1 << 30)


@asynccontextmanager
async def lake_role(bus: InMemoryBus, lake: IcebergLake, limits: CommitLimits = SOON) -> AsyncIterator[LakeWriter]:
    """Writer and consumer between enter and exit, which is a kill: nothing is drained."""
    writer = LakeWriter(lake, limits, CLOCK, Metrics("test"))
    consumer = LakeConsumer(writer)
    part: Part = bus.consumer(
        "lake", LAKE_TOPICS, LAKE_GROUP, consumer.handle, max_records=MAX_RECORDS, start_offsets=consumer.start_offsets
    )
    tasks = Tasks()
    async with tasks:
        await writer.start(tasks)
        await part.start(tasks)
        try:
            yield writer
        finally:
            await tasks.end()


def send(bus: InMemoryBus, *numbers: int, partition: int = 0, **values: Any) -> None:
    events = [event(n, **values) for n in numbers]
    bus.append(topics.EVENTS_ENRICHED, arrow.encode(envelope(events)), b"0", partition, {})


def event_ids(lake: IcebergLake) -> list[str]:
    table = lake.read(Table.EVENTS)
    return sorted(table.column("event_id").to_pylist()) if table.num_columns else []


def committed(bus: InMemoryBus, partition: int = 0) -> int:
    return bus.committed.get((LAKE_GROUP, topics.EVENTS_ENRICHED.name, partition), 0)


def has_committed(bus: InMemoryBus, offset: int) -> bool:
    return committed(bus) == offset


async def test_events_and_feeds_arrive_with_their_coverage(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    feed = blender_pb2.ServedFeed(request_id="r1", user_id="user-1", surface="home", served_time_ms=1_750_000_000_000)
    feed.candidates.add(pin_id="a", position=0, score=0.5, score_by_head={"click": 0.25})
    feed.candidates.add(pin_id="b", position=-1, removed_by="drop_seen")
    async with lake_role(bus, lake):
        send(bus, 1, 2)
        send(bus, 3, partition=5, pin_topics=["art"])
        bus.append(topics.FEEDS_SERVED, feed.SerializeToString(), b"0", 0, {})
        await eventually(lambda: committed(bus) == 1 and committed(bus, 5) == 1, within_s=10)
        await eventually(lambda: lake.read(Table.FEEDS).num_rows == 1, within_s=10)
    assert event_ids(lake) == ["event-1", "event-2", "event-3"]
    assert {p: c.next_offset for p, c in lake.coverage(Table.EVENTS).items()} == {0: 1, 5: 1}
    [row] = lake.read(Table.FEEDS).to_pylist()
    assert (row["pin_id"], row["score_by_head"]) == ("a", '{"click": 0.25}')


async def test_used_quota_becomes_rows_and_what_is_none_is_parked(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    window = UsageWindow("surface/*", 1_750_000_000_000, 1000, 5.0, 1.0, 0.0, 3, "blender", "one", "az-a")
    async with lake_role(bus, lake):
        bus.append(topics.QUOTA_USAGE, b"\xff\xff", b"k", 0, {})
        bus.append(topics.QUOTA_USAGE, encode_usage(window), b"k", 0, {})
        await eventually(lambda: lake.read(Table.USAGE).num_rows == 1, within_s=10)
        await eventually(lambda: len(bus.records(topics.QUOTA_USAGE.parked)) == 1, within_s=10)
    [row] = lake.read(Table.USAGE).to_pylist()
    assert (row["key"], row["admitted"], row["zone"], row["rule_version"]) == ("surface/*", 5.0, "az-a", 3)


async def test_served_features_arrive_whole_and_what_is_none_is_parked(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    tensor = Tensor(data=b"\0\0\x80?", shape=[1], dtype=DTYPE_FLOAT32)
    served = ranker_pb2.ServedFeatures(
        request_id="r1",
        user_id="user-1",
        served_time_ms=1_750_000_000_000,
        model="ranker",
        sequence_version=7,
        pin_ids=["a"],
        num_pins_by_vector_version={"hash-1": 1},
        inputs=NamedTensors(by_name={"candidate_age_s": tensor}),
    )
    async with lake_role(bus, lake):
        for nothing in (
            b"\xff\xff",
            b"",
            ranker_pb2.ServedFeatures(model="m", served_time_ms=1 << 62).SerializeToString(),
        ):
            bus.append(topics.FEATURES_SERVED, nothing, b"0", 0, {})
        bus.append(topics.FEATURES_SERVED, served.SerializeToString(), b"0", 0, {})
        await eventually(lambda: lake.read(Table.FEATURES).num_rows == 1, within_s=10)
        await eventually(lambda: len(bus.records(topics.FEATURES_SERVED.parked)) == 3, within_s=10)
    [row] = lake.read(Table.FEATURES).to_pylist()
    assert (row["request_id"], row["sequence_version"], row["pin_ids"], row["event_ids"]) == ("r1", 7, ["a"], [])
    assert row["vector_versions"] == '{"hash-1": 1}'
    assert NamedTensors.FromString(row["inputs"]).by_name["candidate_age_s"] == tensor


async def test_a_kill_between_the_commit_and_kafkas_appends_nothing_twice(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    async with lake_role(bus, lake):
        send(bus, 1)
        await eventually(lambda: committed(bus) == 1, within_s=10)
        send(bus, 2)
        await eventually(lambda: event_ids(lake) == ["event-1", "event-2"], within_s=10)
    bus.committed.clear()  # what Kafka was told is lost
    async with lake_role(bus, lake):
        send(bus, 3)
        await eventually(lambda: event_ids(lake) == ["event-1", "event-2", "event-3"], within_s=10)


async def test_records_the_table_covers_are_left_out_even_when_they_are_delivered(tmp_path: Path) -> None:
    lake = IcebergLake(str(tmp_path))
    records = [LakeRecord(0, offset, 1000 + offset, envelope([event(offset)])) for offset in range(3)]
    writer = LakeWriter(lake, SOON, CLOCK, Metrics("test"))
    async with Tasks() as tasks:
        await writer.start(tasks)
        await writer.add(Table.EVENTS, records[:2])
        await writer.add(Table.EVENTS, records)
        await tasks.end()
    assert event_ids(lake) == ["event-0", "event-1", "event-2"]


async def test_an_uncommitted_record_is_not_acknowledged_and_comes_again(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    async with lake_role(bus, lake, NEVER):
        send(bus, 1)
        await asyncio.sleep(0.1)
        assert committed(bus) == 0
    assert event_ids(lake) == []
    async with lake_role(bus, lake):
        await eventually(lambda: event_ids(lake) == ["event-1"], within_s=10)


async def test_a_drain_commits_what_waits(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    async with lake_role(bus, lake, NEVER) as writer:
        send(bus, 1)
        await asyncio.sleep(0.05)
        LakeDrain(writer)._writer.drain()
        await eventually(lambda: committed(bus) == 1, within_s=10)


class FailingLake(IcebergLake):
    """Fails some appends: before the commit, or with the answer lost."""

    failures: list[str]

    def append(self, table: Table, rows: pa.Table, coverage: Coverage) -> None:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "before":
            raise Unavailable("no commit")
        super().append(table, rows, coverage)
        if failure == "after":
            raise Unavailable("answer lost")


async def test_failed_commits_are_repeated_and_lost_answers_do_no_harm(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), FailingLake(str(tmp_path))
    lake.failures = ["before", "after", "after", "before"]
    async with lake_role(bus, lake):
        for number in range(4):
            send(bus, number)
            await eventually(partial(has_committed, bus, number + 1), within_s=20)
    assert event_ids(lake) == [f"event-{n}" for n in range(4)]


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    one, two = IcebergLake(str(tmp_path)), IcebergLake(str(tmp_path))
    one.append(Table.EVENTS, rows(1), one.coverage(Table.EVENTS))
    two.coverage(Table.EVENTS)
    one.coverage(Table.EVENTS)
    one.append(Table.EVENTS, rows(2), {0: Covered(2, 1)})
    with pytest.raises(Conflict):
        two.append(Table.EVENTS, rows(2), {0: Covered(2, 1)})
    assert event_ids(one) == ["event-1", "event-2"]


async def test_new_columns_extend_the_table_and_missing_ones_are_null(tmp_path: Path) -> None:
    lake = IcebergLake(str(tmp_path))
    for number, columns in [(1, ["a"]), (2, ["a", "b"]), (3, [])]:
        table = rows(number)
        for name in columns:
            table = table.append_column(name, pa.array([number]))
        lake.coverage(Table.EVENTS)
        lake.append(Table.EVENTS, table, {})
    found = {row["event_id"]: (row["a"], row["b"]) for row in lake.read(Table.EVENTS).to_pylist()}
    assert found == {"event-1": (1, None), "event-2": (2, 2), "event-3": (None, None)}


def test_a_topic_made_anew_is_not_covered() -> None:
    old = [LakeRecord(0, offset, 1000 + offset, envelope([])) for offset in range(5)]
    coverage = extended({}, old)
    assert all(is_covered(record, coverage) for record in old)
    anew = LakeRecord(0, 2, 9000, envelope([]))
    assert not is_covered(anew, coverage)
    assert extended(coverage, [anew]) == {0: Covered(3, 9000)}


def rows(number: int) -> pa.Table:
    return dated(pa.Table.from_batches([envelope([event(number)])]), Table.EVENTS)


async def test_poison_that_only_a_commit_finds_does_not_cost_an_interval_each(tmp_path: Path) -> None:
    """A column that was a number comes as text in every second record."""
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    for number in range(16):
        batch = envelope([event(number)])
        column = pa.array([1]) if number % 2 == 0 else pa.array([[["text"]]])
        value = arrow.encode(batch.append_column("of_two_kinds", column))
        bus.append(topics.EVENTS_ENRICHED, value, b"0", 0, {})
    began_s = time.monotonic()
    async with lake_role(bus, lake, CommitLimits(interval_s=1.5, num_bytes=1 << 30, num_events=1 << 30)):
        await eventually(lambda: has_committed(bus, 16), within_s=20)
    assert len(event_ids(lake)) == 8
    assert len(bus.logs[topics.EVENTS_ENRICHED.parked.name, 0]) == 8
    assert time.monotonic() - began_s < 8.0, "the first waits for the interval, halves do not"
