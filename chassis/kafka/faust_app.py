"""A Faust app as a part of a service, by the one recipe that loses nothing.

`noack()` and an explicit ack after the effect; `stream_wait_empty=False`, so that stop and rebalance are short; commit
before partitions are revoked; our own producer. Faust's automatic acks, `take_events` and `topic.send` are not used:
they acknowledge before the effect or cannot be waited for.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP, EventT
from faust.types.auth import CredentialsT

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.kafka import faust_transport
from chassis.kafka.connection import SESSION_TIMEOUT_MS, Connection, connect, wait_for_topics
from chassis.kafka.handling import Handle, Handler
from chassis.kafka.intake import Intake
from chassis.kafka.parking import Parker
from chassis.kafka.record import Record, text_headers
from chassis.kafka.security import KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

START_WITHIN_S = 30.0
START_ENDS_WITHIN_S = 2.0  # Faust sleeps for a second of it; below STOP_WITHIN_S
STOP_WITHIN_S = 3.0  # takes 0.1 s while Kafka is there; with FINISH_WITHIN_S below the service's budget
FINISH_WITHIN_S = 4.0
RESTART_PAUSE_S = 1.0
COMMIT_EVERY_S = 0.5
HEARTBEAT_S = 0.5
MAX_WAITING = 64  # records of a partition; from then on nothing is fetched for it until half of them are handled
MAX_TOGETHER = 64  # records handed to the handler at once when they wait
MAX_FETCHED_RECORDS = 256  # at once; at 10 kB an envelope 2.5 MB
BUFFERED_RECORDS = 4 * MAX_FETCHED_RECORDS  # a stream is never full: it is emptied at once
ASSIGNED_POLL_S = 0.05


class FaustPipeline:
    """Reads `topics` as a member of `group`; records get to `handle` as in a bare consumer.

    The agent only hands each event on to the intake of its topic: a handler never holds it up.
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
        self._intakes: dict[str, Intake] = {}
        self._events: dict[tuple[str, int, int], tuple[Any, EventT[Any]]] = {}
        self._running: asyncio.Task[None] | None = None
        self._is_draining = False

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start in the background; the health map says when partitions are assigned."""
        self._health.set(self.name, False, "not yet a member of its group")
        for topic in self._topics:
            self._intakes[topic.name] = Intake(self._handler, self._finished, MAX_TOGETHER, tasks)
        await self._parker.start(tasks)
        self._running = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Take nothing new, let the effects in hand finish, commit, leave; cut off after a hard limit."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.wait({running}, timeout=STOP_WITHIN_S)
        await self.drain(deadline.capped(FINISH_WITHIN_S).remaining_s())
        await self._stop_app(deadline.capped(STOP_WITHIN_S).remaining_s())
        await self._parker.stop(deadline)

    async def drain(self, within_s: float) -> None:
        """Forget what only waits (it comes again), take nothing new, and wait for what is in hand."""
        self._is_draining = True
        await asyncio.gather(*(intake.finish(within_s) for intake in self._intakes.values()))
        self._events.clear()

    def resume(self) -> None:
        """Hand events on again: partitions are about to be assigned, and read from their committed offsets."""
        self._is_draining = False

    async def _run(self) -> None:
        """A crashed app ends the service: a supervisor starts it again from the committed offsets."""
        while True:
            await wait_for_topics(self._connection, self._topics, self._wait)
            try:
                self._app = self._build()
                await asyncio.wait_for(connect(self._app, START_ENDS_WITHIN_S), START_WITHIN_S)
                break
            except (KafkaError, OSError, TimeoutError) as error:  # Kafka has gone again
                self._wait(f"Kafka: {type(error).__name__}: {error}")
                await self._stop_app(STOP_WITHIN_S)
                await asyncio.sleep(RESTART_PAUSE_S)
        app = self._app
        is_member = False
        while not app.should_stop:
            if not is_member and (app.unassigned or app.consumer.assignment()):
                is_member = True
                self._health.set(self.name, True)
            await asyncio.sleep(ASSIGNED_POLL_S)
        if app.crashed:
            raise Unavailable(f"{self.name}: the Faust app crashed: {app.crash_reason!r}")

    def _wait(self, why: str) -> None:
        self._health.set(self.name, False, why)

    async def _stop_app(self, within_s: float) -> None:
        """Ask Faust to stop; it swallows a cancel, so what is not over in time is left behind with its thread ended."""
        app, self._app = self._app, None
        if app is not None:
            stopping = asyncio.ensure_future(app.stop())
            _, late = await asyncio.wait({stopping}, timeout=max(0.5, within_s))
            if late:
                stopping.cancel()
                faust_transport.end(app.transport)
                await asyncio.wait({stopping}, timeout=faust_transport.CLIENT_STOPS_WITHIN_S)
        shutil.rmtree(self._data_dir, ignore_errors=True)

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
            broker_max_poll_records=MAX_FETCHED_RECORDS,
            broker_commit_interval=COMMIT_EVERY_S,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_session_timeout=SESSION_TIMEOUT_MS / 1000,
            broker_request_timeout=SESSION_TIMEOUT_MS / 1000 + 2,
            consumer_group_instance_id=self._connection.group_instance_id or None,
            broker_client_id=f"{self._connection.instance}-{self.name}",
            consumer_auto_offset_reset="earliest",
            broker_credentials=_credentials(self._connection.security),
        )
        app.transport = faust_transport.transport(app, self, self._connection.zone, FINISH_WITHIN_S)
        for topic in self._topics:
            source = app.topic(
                topic.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
            )
            app.agent(source, name=f"{self.name}-{topic.name}")(self._consume)
        return app

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if not self._is_draining:  # else it comes again: it was not acknowledged
                record = _record(event)
                self._events[record.topic, record.partition, record.offset] = (stream, event)
                self._intakes[record.topic].add([record])
                if self._num_waiting(record) >= MAX_WAITING:
                    self._app.consumer.on_buffer_full(TP(record.topic, record.partition))

    async def _finished(self, records: Sequence[Record]) -> None:
        for record in records:
            stream, event = self._events.pop((record.topic, record.partition, record.offset))
            await stream.ack(event)
        if self._num_waiting(records[0]) <= MAX_WAITING // 2 and self._app is not None:
            self._app.consumer.on_buffer_drop(TP(records[0].topic, records[0].partition))

    def _num_waiting(self, record: Record) -> int:
        return self._intakes[record.topic].num_waiting(record.partition)


def _credentials(security: KafkaSecurity) -> CredentialsT | None:
    """The same in Faust's words."""
    context = security.context()
    if security.has_sasl:
        return faust.SASLCredentials(
            username=security.sasl_username,
            password=security.password(),
            ssl_context=context,
            mechanism=security.sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context is not None else None


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
