"""The served log: a bounded queue between answers and the stores that keep them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.tracing import context_from, span
from services.blender.domain.served_feed import ServedFeed
from services.blender.outbound import kafka_served_feed_messages
from services.blender.ports import ExplanationStore

WRITE_S = 10.0  # a store that hangs longer loses this record, not the queue behind it


class Explanations(ExplanationStore, Protocol):
    """An explanation store that this log fills."""

    async def save(self, feed: ServedFeed, encoded: bytes) -> None:
        """Keep the feed, encoded as in the topic, under its request id. Raises: Unavailable, DeadlineExceeded."""
        ...


@dataclass(frozen=True)
class Sink:
    """One place that keeps served feeds; `write` gets the feed and its bytes."""

    name: str
    write: Callable[[ServedFeed, bytes], Awaitable[None]]


class QueuedServedLog:
    """ServedLog, and a part. Every record ends up counted: written or failed per sink, or dropped."""

    name = "served log"

    def __init__(self, sinks: Sequence[Sink], metrics: Metrics, *, size: int, num_workers: int) -> None:
        self._sinks, self._num_workers = sinks, num_workers
        self._queue: asyncio.Queue[ServedFeed] = asyncio.Queue(size)
        self._workers: list[asyncio.Task[None]] = []
        self._dropped = metrics.counter("blender_served_dropped_total", "Served feeds that were not kept.", ("why",))
        self._writes = metrics.counter("blender_served_writes_total", "Served feeds written.", ("sink", "outcome"))
        metrics.gauge("blender_served_queued", "Served feeds waiting.").set_function(self._queue.qsize)

    def put(self, feed: ServedFeed) -> None:
        """See ServedLog."""
        try:
            self._queue.put_nowait(feed)
        except asyncio.QueueFull:
            self._dropped.labels("full").inc()

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to write."""
        self._workers = [tasks.create_task(self._work()) for _ in range(self._num_workers)]

    async def stop(self, deadline: Deadline) -> None:
        """Write what is queued, until the deadline; count what is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s() / 2):  # parts stopped after this one need time too
                await self._queue.join()
        for worker in self._workers:
            worker.cancel()
        self._workers = []
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()
            self._dropped.labels("stopped").inc()

    async def _work(self) -> None:
        while True:
            feed = await self._queue.get()
            try:
                await self._write(feed)
            except asyncio.CancelledError:  # in hand when the time to stop was over
                self._dropped.labels("stopped").inc()
                raise
            finally:
                self._queue.task_done()

    async def _write(self, feed: ServedFeed) -> None:
        with span("write served feed", parent=context_from({"traceparent": feed.traceparent})):
            encoded = kafka_served_feed_messages.encode(feed)
            await asyncio.gather(*(self._write_to(sink, feed, encoded) for sink in self._sinks))

    async def _write_to(self, sink: Sink, feed: ServedFeed, encoded: bytes) -> None:
        try:
            async with asyncio.timeout(WRITE_S):
                await sink.write(feed, encoded)
        except (CorkboardError, TimeoutError) as error:
            self._writes.labels(sink.name, "failed").inc()
            get_logger(__name__).warning(
                "served_feed_not_written", sink=sink.name, request_id=feed.request_id, error=str(error)
            )
            return
        self._writes.labels(sink.name, "ok").inc()
