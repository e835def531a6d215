"""The events of one partition on their way to Kafka, in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chassis.errors import CorkboardError, Unavailable
from chassis.tasks import cut
from services.ingest.domain.pending_bytes import PendingBytes
from services.ingest.outbound.kafka_event_envelope import Chunk

RETRY_AFTER_S = 1.0
Send = Callable[[int, Sequence[Chunk]], Awaitable[None]]
Waiting = tuple[Chunk, "asyncio.Future[None]"]


@dataclass(frozen=True)
class EnvelopeLimits:
    """An envelope leaves with `max_events`, or at the next beat, every `delay_s`; the first after a pause, at once."""

    max_events: int
    delay_s: float


class EventLane:
    """One envelope at a time: the next one leaves when the one before is acknowledged or has failed."""

    def __init__(self, partition: int, send: Send, limits: EnvelopeLimits, pending: PendingBytes) -> None:
        self._partition = partition
        self._send = send
        self._limits = limits
        self._pending = pending
        self._waiting: deque[Waiting] = deque()
        self._num_waiting = 0
        self._arrived = asyncio.Event()
        self._is_full = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._earliest_s = 0.0

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Send from now on."""
        self._task = tasks.create_task(self._run())

    def add(self, chunk: Chunk) -> "asyncio.Future[None]":
        """Take the chunk and its pending bytes; done when acknowledged. A lane that stops gives a failed future."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_closing or self._task is None:
            self._settle([(chunk, future)], _stopped())
            return future
        self._waiting.append((chunk, future))
        self._num_waiting += len(chunk.events)
        self._is_idle.clear()
        self._arrived.set()
        if self._num_waiting >= self._limits.max_events:
            self._is_full.set()
        return future

    async def drain(self) -> None:
        """Refuse new events; return when nothing waits."""
        self._is_closing = True
        self._is_full.set()
        if self._task is not None and not self._task.done():
            await self._is_idle.wait()

    async def close(self) -> None:
        """Stop, and fail what still waits."""
        self._is_closing = True
        if self._task is not None:
            await cut([self._task])
        self._settle(self._waiting, _stopped())
        self._waiting.clear()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._pause()
            await self._send_next()
            if not self._waiting:
                self._is_idle.set()

    async def _pause(self) -> None:
        """An envelope costs every process behind some milliseconds whatever is in it: under load, fewer and fuller
        ones, and those of all lanes at the same beat of the clock, so that they share requests."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._earliest_s):
                await self._is_full.wait()
        beat_s = self._limits.delay_s
        self._earliest_s = (loop.time() // beat_s + 1) * beat_s

    async def _send_next(self) -> None:
        taken = self._take()
        error: CorkboardError | None = _stopped()  # what the callers learn when this task is cancelled
        try:
            await self._send(self._partition, [chunk for chunk, _ in taken])
            error = None
        except CorkboardError as failure:
            error = failure
        finally:
            self._settle(taken, error)

    def _take(self) -> list[Waiting]:
        """Whole chunks, at least one, up to the limit of an envelope."""
        taken: list[Waiting] = []
        num_events = 0
        while self._waiting:
            num_next = len(self._waiting[0][0].events)
            if taken and num_events + num_next > self._limits.max_events:
                break
            taken.append(self._waiting.popleft())
            num_events += num_next
        self._num_waiting -= num_events
        if self._num_waiting < self._limits.max_events and not self._is_closing:
            self._is_full.clear()
        if not self._waiting:
            self._arrived.clear()
        return taken

    def _settle(self, taken: Sequence[Waiting] | deque[Waiting], error: CorkboardError | None) -> None:
        for chunk, future in taken:
            self._pending.give_back(chunk.num_bytes)
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def _stopped() -> Unavailable:
    return Unavailable("stopped before Kafka acknowledged", reason="stopping", retry_after_s=RETRY_AFTER_S)
