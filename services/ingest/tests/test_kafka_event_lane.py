"""A lane: whole chunks, in order, one envelope at a time, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from chassis.errors import Overloaded, Unavailable
from services.ingest.domain.event import Event
from services.ingest.domain.pending_bytes import PendingBytes
from services.ingest.outbound.kafka_event_envelope import Chunk, to_batch
from services.ingest.outbound.kafka_event_lane import EnvelopeLimits, EventLane


class World:
    """A lane with a sender that can be held or broken."""

    def __init__(self, max_events: int = 4, delay_s: float = 0.01) -> None:
        self.sent: list[list[str]] = []
        self.pending = PendingBytes(1_000_000)
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Unavailable | None = None
        self.lane = EventLane(0, self._send, EnvelopeLimits(max_events, delay_s), self.pending)

    def add(self, *ids: str) -> "asyncio.Future[None]":
        self.pending.take(10)
        return self.lane.add(Chunk([Event(each, "u", "click", 1) for each in ids], 2, "", 10))

    async def _send(self, partition: int, chunks: Sequence[Chunk]) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent.append([event.event_id for chunk in chunks for event in chunk.events])


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        world.lane.start(tasks)
        try:
            yield world
        finally:
            await world.lane.close()


async def test_events_leave_together_and_in_order() -> None:
    async with running(World()) as world:
        await asyncio.gather(world.add("a"), world.add("b", "c"))
        assert world.sent == [["a", "b", "c"]]
        assert world.pending.taken == 0


async def test_chunks_are_never_split_and_envelopes_stay_within_their_limit() -> None:
    async with running(World(max_events=4, delay_s=10)) as world:
        futures = [world.add("a", "b", "c"), world.add("d", "e"), world.add("f", "g", "h", "i", "j")]
        await asyncio.gather(*futures)
        assert world.sent == [["a", "b", "c"], ["d", "e"], ["f", "g", "h", "i", "j"]]


async def test_the_first_after_a_pause_leaves_at_once_and_the_rest_together_at_the_next_beat() -> None:
    async with running(World(max_events=100, delay_s=0.2)) as world:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        await world.add("a")
        assert loop.time() - start_s < 0.1
        await asyncio.gather(world.add("b"), world.add("c"))
        assert world.sent == [["a"], ["b", "c"]]
        assert loop.time() % 0.2 < 0.1  # all lanes beat together


async def test_the_next_envelope_waits_for_the_one_before() -> None:
    async with running(World(max_events=1)) as world:
        world.gate.clear()
        first, second = world.add("a"), world.add("b")
        done, _ = await asyncio.wait({first, second}, timeout=0.05)
        assert not done
        world.gate.set()
        await asyncio.gather(first, second)
        assert world.sent == [["a"], ["b"]]


async def test_a_failed_envelope_fails_its_events_only() -> None:
    async with running(World(max_events=1)) as world:
        world.error = Unavailable("away")
        with pytest.raises(Unavailable):
            await world.add("a")
        world.error = None
        await world.add("b")
        assert world.pending.taken == 0


async def test_draining_sends_what_waits_at_once_and_refuses_more() -> None:
    async with running(World(delay_s=30)) as world:
        waiting = world.add("a")
        await world.lane.drain()
        await waiting
        with pytest.raises(Unavailable):
            await world.add("b")


async def test_closing_fails_what_kafka_has_not_acknowledged() -> None:
    async with running(World(max_events=1)) as world:
        world.gate.clear()
        futures = [world.add("a"), world.add("b")]
        await asyncio.sleep(0.01)
        await world.lane.close()
        for future in futures:
            with pytest.raises(Unavailable):
                await future
        assert world.pending.taken == 0


def test_memory_is_bounded() -> None:
    pending = PendingBytes(100)
    pending.take(80)
    with pytest.raises(Overloaded) as error:
        pending.take(21)
    assert error.value.retry_after_s
    pending.give_back(80)
    pending.take(100)


def test_rows_carry_the_trace_of_their_request() -> None:
    chunks = [Chunk([Event("a", "u", "click", 1)], 5, "00-a", 1), Chunk([Event("b", "v", "save", 2)], 6, "00-b", 1)]
    rows = to_batch(chunks).to_pylist()
    assert [(row["event_id"], row["received_time_ms"], row["traceparent"]) for row in rows] == [
        ("a", 5, "00-a"),
        ("b", 6, "00-b"),
    ]
