"""The served log: never in the way, nothing lost uncounted."""

import asyncio

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.kafka.partitioner import partition_for
from chassis.metrics import Metrics
from chassis.testing import InMemoryBus, eventually
from protos.blender.v1 import blender_pb2 as pb
from protos.topics import FEEDS_SERVED
from services.blender.domain.served_feed import ServedFeed
from services.blender.outbound.in_memory_served_log import QueuedServedLog, Sink
from services.blender.outbound.kafka_served_feeds import KafkaServedFeeds
from services.blender.tests.running_blender import RunningBlender
from services.blender.tests.test_stores import feed


class Gate:
    """A sink that a test can close."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.is_broken = False
        self.written: list[str] = []

    async def write(self, served: ServedFeed, encoded: bytes) -> None:
        await self.open.wait()
        if self.is_broken:
            raise Unavailable("broken by the test")
        self.written.append(served.request_id)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    gate, metrics = Gate(), Metrics("t")
    log = QueuedServedLog([Sink("gate", gate.write)], metrics, size=5, num_workers=1)
    gate.open.clear()
    async with asyncio.TaskGroup() as tasks:
        await log.start(tasks)
        for _ in range(20):
            log.put(feed())
        assert value(metrics, "blender_served_dropped_total", why="full") == 15
        gate.open.set()
        await log.stop(Deadline.after(2))
    assert len(gate.written) == 5
    assert value(metrics, "blender_served_writes_total", sink="gate", outcome="ok") == 5


async def test_a_stop_writes_what_is_queued_or_counts_it() -> None:
    gate, metrics = Gate(), Metrics("t")
    log = QueuedServedLog([Sink("gate", gate.write)], metrics, size=50, num_workers=2)
    async with asyncio.TaskGroup() as tasks:
        await log.start(tasks)
        for _ in range(10):
            log.put(feed())
        await log.stop(Deadline.after(2))
        assert len(gate.written) == 10
        gate.open.clear()
        await log.start(tasks)
        for _ in range(10):
            log.put(feed())
        await asyncio.sleep(0)
        await log.stop(Deadline.after(0.1))
    lost = value(metrics, "blender_served_dropped_total", why="stopped")
    assert lost + len(gate.written) == 20 and lost == 10


async def test_one_broken_sink_does_not_starve_the_other() -> None:
    broken, well, metrics = Gate(), Gate(), Metrics("t")
    broken.is_broken = True
    log = QueuedServedLog([Sink("a", broken.write), Sink("b", well.write)], metrics, size=5, num_workers=1)
    async with asyncio.TaskGroup() as tasks:
        await log.start(tasks)
        log.put(feed())
        await log.stop(Deadline.after(2))
    assert well.written == ["0" * 32]
    assert value(metrics, "blender_served_writes_total", sink="a", outcome="failed") == 1


async def test_the_users_of_one_bucket_share_a_partition() -> None:
    bus = InMemoryBus()
    await KafkaServedFeeds(bus.producer(), "/blender/test").write(feed(), b"bytes")
    (record,) = bus.records(FEEDS_SERVED)
    assert record.partition == partition_for("ann", FEEDS_SERVED.num_partitions)
    assert record.key == str(record.partition).encode() and record.value == b"bytes"
    assert record.headers["ce_id"] == "0" * 32


async def test_stopping_the_service_flushes_the_log(blender: RunningBlender) -> None:
    responses = [await blender.feed(user_id=f"u-{n}", page_size=5) for n in range(5)]
    await blender.service.stop()
    sent = {pb.ServedFeed.FromString(each.value or b"").request_id for each in blender.bus.records(FEEDS_SERVED)}
    assert sent == {response.request_id for response in responses}


async def test_the_record_joins_the_trace_of_its_request(blender: RunningBlender) -> None:
    response = await blender.feed()
    await eventually(lambda: blender.bus.records(FEEDS_SERVED))
    (record,) = blender.bus.records(FEEDS_SERVED)
    assert response.trace_id and record.headers["traceparent"].split("-")[1] == response.trace_id
