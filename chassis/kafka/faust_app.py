"""A Faust app as a part of a service, by the one recipe that loses nothing.

`noack()` and an explicit ack after the effect; `stream_wait_empty=False`, so that stop and rebalance are short; commit
before partitions are revoked; our own producer. Faust's automatic acks, `take_events` and `topic.send` are not used:
they acknowledge before the effect or cannot be waited for.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, StreamT

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.kafka.connection import SESSION_TIMEOUT_MS, Connection, wait_for_topics
from chassis.kafka.handling import Handle, Handler
from chassis.kafka.parking import Parker
from chassis.kafka.record import Record, text_headers
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

START_WITHIN_S = 30.0
STOP_WITHIN_S = 5.0
FINISH_WITHIN_S = 4.0
COMMIT_EVERY_S = 0.5
HEARTBEAT_S = 0.5
QUEUED_PER_PARTITION = 32  # records; at 10 kB an envelope and 8 partitions about 3 MB
MAX_TOGETHER = 16  # records handed to the handler at once when they wait
BUFFERED_RECORDS = 256
ASSIGNED_POLL_S = 0.05


class FaustPipeline:
    """Reads `topics` as a member of `group`; `handle` gets records of one partition in order, as in a bare consumer.

    The agent hands each event to a queue of its partition, so that partitions go on beside each other and records
    that wait are handled together.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        group: str,
        handle: Handle,
        *,
        connection: Connection,
        parker: Parker,
        metrics: Metrics,
        health: Health,
        clock: Clock,
    ) -> None:
        self.name = name
        self._topics = tuple(topics)
        self._group = group
        self._connection = connection
        self._parker = parker
        self._health = health
        self._handler = Handler(name, handle, parker, metrics, clock, lambda why: health.note(f"{name} handler", why))
        self._app: Any = None
        self._data_dir = ""
        self._queues: dict[TP, asyncio.Queue[EventT[Any]]] = {}
        self._workers: dict[TP, asyncio.Task[None]] = {}
        self._in_hand: set[TP] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start in the background; the health map says when partitions are assigned."""
        self._health.set(self.name, False, "not yet a member of its group")
        self._tasks = tasks
        await self._parker.start(tasks)
        self._starting = tasks.create_task(self._start())

    async def stop(self, deadline: Deadline) -> None:
        """Take nothing new, let the effects in hand finish, commit, leave; cut off after a hard limit."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await starting
        await self.drain(deadline.capped(FINISH_WITHIN_S).remaining_s())
        app, self._app = self._app, None
        if app is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(app.stop(), max(0.5, deadline.capped(STOP_WITHIN_S).remaining_s()))
        await self._parker.stop(deadline)
        shutil.rmtree(self._data_dir, ignore_errors=True)

    async def drain(self, within_s: float) -> None:
        """Forget what only waits (it comes again) and wait for what is in hand."""
        for queue in self._queues.values():
            while not queue.empty():
                queue.get_nowait()
        give_up = Deadline.after(within_s)
        while self._in_hand and give_up.remaining_s() > 0:
            await asyncio.sleep(0.01)
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        self._workers.clear()
        self._queues.clear()

    async def _start(self) -> None:
        await wait_for_topics(self._connection, self._topics, lambda why: self._health.set(self.name, False, why))
        self._app = self._build()
        await asyncio.wait_for(self._app.start(), START_WITHIN_S)
        while not self._app.consumer.assignment():
            await asyncio.sleep(ASSIGNED_POLL_S)
        self._health.set(self.name, True)
        await self._watch()

    async def _watch(self) -> None:
        """A crashed app ends the service: a supervisor starts it again from the committed offsets."""
        await self._app.wait_until_stopped()
        if self._app is not None and self._app.crashed:
            raise Unavailable(f"{self.name}: the Faust app crashed: {self._app.crash_reason!r}")

    def _build(self) -> Any:
        self._data_dir = tempfile.mkdtemp(prefix="faust-")
        brokers = ";".join(f"kafka://{address}" for address in self._connection.bootstrap.split(","))
        app = faust.App(
            self._group,
            broker=brokers,
            store="memory://",
            datadir=self._data_dir,
            web_enabled=False,
            autodiscover=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            key_serializer="raw",
            value_serializer="raw",
            stream_wait_empty=False,
            stream_buffer_maxsize=BUFFERED_RECORDS,
            broker_commit_interval=COMMIT_EVERY_S,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_session_timeout=SESSION_TIMEOUT_MS / 1000,
            broker_request_timeout=SESSION_TIMEOUT_MS / 1000 + 2,
            broker_client_id=f"{self._connection.instance}-{self.name}",
            consumer_auto_offset_reset="earliest",
        )
        app.transport = _transport(app, self, self._connection.zone)
        for topic in self._topics:
            source = app.topic(
                topic.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
            )
            app.agent(source, name=f"{self.name}-{topic.name}")(self._consume)
        return app

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self._queue(event.message.tp, stream).put(event)

    def _queue(self, partition: TP, stream: StreamT[Any]) -> "asyncio.Queue[EventT[Any]]":
        if partition not in self._queues:
            if self._tasks is None:
                raise Unavailable(f"{self.name} is not started")
            self._queues[partition] = asyncio.Queue(QUEUED_PER_PARTITION)
            self._workers[partition] = self._tasks.create_task(self._work(partition, self._queues[partition], stream))
        return self._queues[partition]

    async def _work(self, partition: TP, queue: "asyncio.Queue[EventT[Any]]", stream: StreamT[Any]) -> None:
        while True:
            events = [await queue.get()]
            while not queue.empty() and len(events) < MAX_TOGETHER:
                events.append(queue.get_nowait())
            self._in_hand.add(partition)
            try:
                await self._handler([_record(event) for event in events])
                for event in events:
                    await stream.ack(event)
            finally:
                self._in_hand.discard(partition)


def _transport(app: Any, pipeline: FaustPipeline, rack: str) -> Any:
    """Faust's Kafka transport with our rack, and with effects finished and committed before partitions go."""

    class RackThread(driver.AIOKafkaConsumerThread):
        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._client_rack = rack or None  # noqa: SLF001  # faust has no setting for it
            return consumer

    class CommitFirst(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            return RackThread(self, loop=self.loop, beacon=self.beacon)

        async def on_partitions_revoked(self, revoked: set[TP]) -> None:
            self.app.flow_control.suspend()
            await pipeline.drain(FINISH_WITHIN_S)
            await self.commit()
            await super().on_partitions_revoked(revoked)

    class RackTransport(driver.Transport):
        Consumer = CommitFirst

    return RackTransport(app.conf.broker_consumer, app)


def _record(event: EventT[Any]) -> Record:
    message = event.message
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        text_headers(message.headers or {}),
        int((message.timestamp or 0) * 1000),
    )
