"""A member of a consumer group that acknowledges after the effect, partition by partition."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka.connection import Connection, connect, disconnect, wait_for_topics
from chassis.kafka.handling import Check, Handle, Handler
from chassis.kafka.intake import Intake
from chassis.kafka.parking import Parker
from chassis.kafka.progress import Progress
from chassis.kafka.record import Record, record_of
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.tasks import cut

COMMIT_EVERY_S = 0.5  # repeats after a crash: what was handled within it
COMMIT_WITHIN_S = 4.0  # aiokafka tries for ever; the loop must go on, and a revoke must end before the session does
POLL_MS = 200
MAX_WAITING = 64  # records of a partition; more are not taken over; one fetch brings at most a megabyte
REVOKE_GRACE_S = 5.0  # with a commit below the rebalance timeout of 10 s
RESTART_PAUSE_S = 1.0
PATIENT = {"fetch_min_bytes": 1 << 20}  # more than comes in half a second, after which the broker answers all the same

StartOffsets = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]


class BatchConsumer:
    """Fetches with `getmany`; records of a topic that wait are handled together, a partition in trouble alone."""

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
        max_records: int,
        start_offsets: StartOffsets | None,
        check: Check | None = None,
        is_patient: bool = False,
    ) -> None:
        self.name = name
        self._is_patient = is_patient
        self._topics = tuple(topics)
        self._group = group
        self._connection = connection
        self._parker = parker
        self._health = health
        self._clock = clock
        self._max_records = max_records
        self._start_offsets = start_offsets
        self._handler = Handler(name, handle, parker, metrics, clock, self._note, check)
        self._progress = Progress(name, connection, metrics, health, clock)
        self._lag = metrics.gauge("kafka_consumer_lag_records", "Records behind the end.", ("topic", "partition"))
        self._readable: set[TopicPartition] = set()
        self._intakes: dict[str, Intake] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._client: AIOKafkaConsumer | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._running: list[asyncio.Task[None]] = []
        self._seeking: asyncio.Task[None] | None = None
        self._log = get_logger(name)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Join the group in the background; the health map says when it has."""
        self._health.set(self.name, False, "not yet a member of its group")
        self._tasks = tasks
        for topic in self._topics:
            self._intakes[topic.name] = Intake(self._handler, self._finished, self._max_records, tasks)
        await self._parker.start(tasks)
        self._running = [tasks.create_task(self._run()), tasks.create_task(self._progress.run())]

    async def stop(self, deadline: Deadline) -> None:
        """Let work in hand finish within the deadline, commit, leave the group."""
        running, self._running = self._running, []
        if not running:
            return
        await cut(running)
        await self._finish(deadline.capped(REVOKE_GRACE_S).remaining_s())
        await self._leave(deadline)
        await self._parker.stop(deadline)

    async def _run(self) -> None:
        while True:
            try:
                await wait_for_topics(self._connection, self._topics, self._wait)
                await self._consume()
            except (KafkaError, OSError) as error:
                self._wait(f"Kafka: {type(error).__name__}: {error}")
                await self._finish(0.0)
                await self._leave(Deadline.after(2.0, self._clock))
                await self._clock.sleep(RESTART_PAUSE_S)

    def _wait(self, why: str) -> None:
        self._progress.beat()
        self._health.set(self.name, False, why)

    def _note(self, why: str) -> None:
        self._progress.beat()
        self._health.note(f"{self.name} handler", why)

    async def _consume(self) -> None:
        settings = self._connection.member(self.name, self._group)
        self._client = AIOKafkaConsumer(**settings | (PATIENT if self._is_patient else {}))
        self._client.subscribe([topic.name for topic in self._topics], listener=_Listener(self))
        await connect(self._client)
        self._progress.follow(self._client)
        last_commit_s = self._clock.monotonic_s()
        while True:
            await self._fetch(self._client)
            self._observe_lag(self._client)
            if self._clock.monotonic_s() - last_commit_s >= COMMIT_EVERY_S:
                await self._commit(self._client)
                last_commit_s = self._clock.monotonic_s()

    async def _fetch(self, client: AIOKafkaConsumer) -> None:
        """Take over what has come, for busy partitions too: aiokafka asks a broker for no partition that has records
        not taken over, and then waits for those of others, half a second if need be."""
        roomy = [one for one in self._readable & client.assignment() if self._num_waiting(one) < MAX_WAITING]
        if not roomy:
            await self._pause()
            return
        batches = await client.getmany(*roomy, timeout_ms=POLL_MS, max_records=None)
        for partition, records in batches.items():
            if records and partition in self._readable:
                self._intakes[partition.topic].add([record_of(one) for one in records])

    def _num_waiting(self, partition: TopicPartition) -> int:
        return self._intakes[partition.topic].num_waiting(partition.partition)

    async def _pause(self) -> None:
        """Until there may be room, or partitions to read."""
        taken = [asyncio.ensure_future(intake.taken()) for intake in self._intakes.values()]
        await asyncio.wait(taken, timeout=POLL_MS / 1000, return_when=asyncio.FIRST_COMPLETED)
        await cut(taken)

    async def _finished(self, records: Sequence[Record]) -> None:
        last = records[-1]
        self._done[TopicPartition(last.topic, last.partition)] = last.offset + 1

    async def _commit(self, client: AIOKafkaConsumer, within_s: float = COMMIT_WITHIN_S) -> None:
        assigned = client.assignment()
        due = {tp: offset for tp, offset in self._done.items() if tp in assigned and self._committed.get(tp) != offset}
        if not due:
            return
        try:
            async with asyncio.timeout(min(within_s, COMMIT_WITHIN_S)):
                await client.commit(due)
            self._committed.update(due)
        except (KafkaError, TimeoutError) as error:  # tried again; after a rebalance done again: effects are idempotent
            self._log.warning("offsets were not committed", error=f"{type(error).__name__}: {error}")

    def _observe_lag(self, client: AIOKafkaConsumer) -> None:
        for partition in client.assignment():
            end = client.highwater(partition)
            if end is not None and partition in self._done:
                self._lag.labels(partition.topic, str(partition.partition)).set(max(0, end - self._done[partition]))

    async def _finish(self, within_s: float) -> None:
        """Wait for work in hand; what takes longer is cut and comes again."""
        await asyncio.gather(*(intake.finish(within_s) for intake in self._intakes.values()))

    async def _leave(self, deadline: Deadline) -> None:
        self._progress.follow(None)
        await self._close_partitions()
        client, self._client = self._client, None
        if client is None:
            return
        await self._commit(client, deadline.remaining_s() / 2)
        # Others go on from here: an offset kept until the next membership would take theirs back.
        self._done.clear()
        self._committed.clear()
        if trouble := await disconnect(client, deadline.remaining_s()):
            self._log.warning("left the group without a goodbye", error=trouble)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish and commit before the partitions go to somebody else."""
        await self._close_partitions()
        await self._finish(REVOKE_GRACE_S)
        if self._client is not None:
            await self._commit(self._client)
        for partition in partitions:
            self._done.pop(partition, None)
            self._committed.pop(partition, None)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Read from the given start offsets, if there are any. aiokafka fetches from committed ones meanwhile and
        would swallow an error here, so nothing is read from a partition before its place is known."""
        if self._start_offsets is None:
            self._open(partitions)
        elif self._tasks is not None:
            self._seeking = self._tasks.create_task(self._seek(partitions, self._start_offsets))

    async def _seek(self, partitions: Sequence[TopicPartition], start_offsets: StartOffsets) -> None:
        while True:
            try:
                wanted = await start_offsets()
                break
            except Exception as error:  # the consumer loop is an edge: whatever keeps the offsets may be away
                self._wait(f"start offsets: {type(error).__name__}: {error}")
                await self._clock.sleep(RESTART_PAUSE_S)
        for partition in partitions:
            offset = wanted.get((partition.topic, partition.partition))
            if offset is not None and self._client is not None:
                self._client.seek(partition, offset)
        self._open(partitions)

    def _open(self, partitions: Sequence[TopicPartition]) -> None:
        self._readable.update(partitions)
        self._health.set(self.name, True)

    async def _close_partitions(self) -> None:
        """Read nothing more: a rebalance revokes every partition of every member."""
        self._readable.clear()
        seeking, self._seeking = self._seeking, None
        if seeking is not None:
            await cut([seeking])


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, consumer: BatchConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        await self._consumer.revoked(list(revoked))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        await self._consumer.assigned(list(assigned))
