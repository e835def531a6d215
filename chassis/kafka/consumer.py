"""A member of a consumer group that acknowledges after the effect, partition by partition."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka.connection import Connection, wait_for_topics
from chassis.kafka.handling import Handle, Handler
from chassis.kafka.parking import Parker
from chassis.kafka.record import Record, text_headers
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.metrics import Metrics

COMMIT_EVERY_S = 0.5  # repeats after a crash: what was handled within it
POLL_MS = 200
REVOKE_GRACE_S = 5.0  # below the rebalance timeout of 10 s
STALLED_AFTER_S = 15.0
RESTART_PAUSE_S = 1.0

StartOffsets = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]


class BatchConsumer:
    """Fetches with `getmany`; one task per partition that has work, so that a slow partition stalls only itself."""

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
    ) -> None:
        self.name = name
        self._topics = tuple(topics)
        self._group = group
        self._connection = connection
        self._parker = parker
        self._health = health
        self._clock = clock
        self._max_records = max_records
        self._start_offsets = start_offsets
        self._handler = Handler(name, handle, parker, metrics, clock, self._note)
        self._age = metrics.gauge(
            "kafka_fetch_age_seconds", "Seconds since Kafka last answered a fetch.", ("consumer",)
        )
        self._lag = metrics.gauge("kafka_consumer_lag_records", "Records behind the end.", ("topic", "partition"))
        self._busy: dict[TopicPartition, asyncio.Task[None]] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._client: AIOKafkaConsumer | None = None
        self._running: asyncio.Task[None] | None = None
        self._log = get_logger(name)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Join the group in the background; the health map says when it has."""
        self._health.set(self.name, False, "not yet a member of its group")
        await self._parker.start(tasks)
        self._running = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Let work in hand finish within the deadline, commit, leave the group."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await self._finish(list(self._busy), deadline.capped(REVOKE_GRACE_S).remaining_s())
        await self._leave(deadline)
        await self._parker.stop(deadline)

    async def _run(self) -> None:
        while True:
            try:
                await wait_for_topics(self._connection, self._topics, self._wait)
                await self._consume()
            except (KafkaError, OSError) as error:
                self._wait(f"Kafka: {type(error).__name__}: {error}")
                await self._finish(list(self._busy), 0.0)
                await self._leave(Deadline.after(2.0))
                await self._clock.sleep(RESTART_PAUSE_S)

    def _wait(self, why: str) -> None:
        self._health.set(self.name, False, why)

    def _note(self, why: str) -> None:
        self._health.note(f"{self.name} handler", why)

    async def _consume(self) -> None:
        self._client = AIOKafkaConsumer(**self._connection.member(self.name, self._group))
        self._client.subscribe([topic.name for topic in self._topics], listener=_Listener(self))
        await self._client.start()
        last_commit_s = self._clock.monotonic_s()
        while True:
            await self._fetch(self._client)
            self._observe(self._client)
            if self._clock.monotonic_s() - last_commit_s >= COMMIT_EVERY_S:
                await self._commit(self._client)
                last_commit_s = self._clock.monotonic_s()

    async def _fetch(self, client: AIOKafkaConsumer) -> None:
        """Fetch for idle partitions and start their work; when all are busy wait for the first to be done."""
        idle = [partition for partition in client.assignment() if partition not in self._busy]
        if not idle:
            await self._pause()
            return
        batches = await client.getmany(*idle, timeout_ms=POLL_MS if not self._busy else 5, max_records=None)
        for partition, records in batches.items():
            if records and partition in client.assignment():
                self._busy[partition] = asyncio.create_task(self._work(partition, records))

    async def _pause(self) -> None:
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=POLL_MS / 1000, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(POLL_MS / 1000)

    async def _work(self, partition: TopicPartition, fetched: Sequence[ConsumerRecord]) -> None:
        try:
            for at in range(0, len(fetched), self._max_records):
                chunk = fetched[at : at + self._max_records]
                await self._handler([_record(one) for one in chunk])
                self._done[partition] = chunk[-1].offset + 1
        finally:
            self._busy.pop(partition, None)

    async def _commit(self, client: AIOKafkaConsumer) -> None:
        assigned = client.assignment()
        due = {tp: offset for tp, offset in self._done.items() if tp in assigned and self._committed.get(tp) != offset}
        if not due:
            return
        try:
            await client.commit(due)
            self._committed.update(due)
        except KafkaError as error:  # done again after the next rebalance; every effect is idempotent
            self._log.warning("offsets were not committed", error=f"{type(error).__name__}: {error}")

    def _observe(self, client: AIOKafkaConsumer) -> None:
        polls = [client.last_poll_timestamp(partition) for partition in client.assignment()]
        known = [poll for poll in polls if poll]
        age_s = (self._clock.now_ms() - max(known)) / 1000 if known else 0.0
        self._age.labels(self.name).set(age_s)
        self._health.note(f"{self.name} fetch", f"no fetch for {age_s:.0f} s" if age_s > STALLED_AFTER_S else "")
        for partition in client.assignment():
            end = client.highwater(partition)
            if end is not None and partition in self._done:
                self._lag.labels(partition.topic, str(partition.partition)).set(max(0, end - self._done[partition]))

    async def _finish(self, partitions: Sequence[TopicPartition], within_s: float) -> None:
        """Wait for work in hand; what takes longer is cut and comes again."""
        tasks = [self._busy[partition] for partition in partitions if partition in self._busy]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=max(0.01, within_s))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _leave(self, deadline: Deadline) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(max(0.1, deadline.remaining_s())):
                await self._commit(client)
                await client.stop()
        except (TimeoutError, KafkaError) as error:
            self._log.warning("left the group without a goodbye", error=repr(error))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish and commit before the partitions go to somebody else."""
        await self._finish(partitions, REVOKE_GRACE_S)
        if self._client is not None:
            await self._commit(self._client)
        for partition in partitions:
            self._done.pop(partition, None)
            self._committed.pop(partition, None)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Go to the given start offsets, if there are any."""
        if self._start_offsets is not None and self._client is not None:
            wanted = await self._start_offsets()
            for partition in partitions:
                offset = wanted.get((partition.topic, partition.partition))
                if offset is not None:
                    self._client.seek(partition, offset)
        self._health.set(self.name, True)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, consumer: BatchConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        await self._consumer.revoked(list(revoked))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        await self._consumer.assigned(list(assigned))


def _record(record: ConsumerRecord) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        text_headers(record.headers),
        record.timestamp,
    )
