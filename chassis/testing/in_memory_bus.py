"""Kafka in memory for unit tests: the same promises to producers, consumers and tables, without a network."""

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence

from chassis import tracing
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.kafka.bus import Apply, Handle, Part, Producer, Record, StartOffsets
from chassis.kafka.handling import Check, Handler
from chassis.kafka.intake import Intake
from chassis.kafka.parking import parked_headers
from chassis.kafka.partitioner import murmur2
from chassis.kafka.producer import LINGER_S, check_record
from chassis.kafka.start_patience import StartPatience
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.tasks import cut

POLL_S = 0.002
FINISH_WITHIN_S = 5.0


class InMemoryBus:
    """Topics as lists. `is_available = False` makes sends fail and starts of tables raise, as a dead Kafka does."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.is_available = True
        self.logs: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.committed: dict[tuple[str, str, int], int] = {}
        self.partitions: dict[str, int] = {}
        self.patience = StartPatience(clock)

    def records(self, topic: Topic) -> list[Record]:
        """Everything sent to `topic`, by partition."""
        found = [log for (name, _), log in sorted(self.logs.items()) if name == topic.name]
        return [record for log in found for record in log]

    def producer(self, *, linger_s: float = LINGER_S) -> Producer:  # noqa: ARG002 - all are there at once
        return InMemoryProducer(self)

    def consumer(
        self,
        name: str,
        topics: Sequence[Topic],
        group: str,
        handle: Handle,
        *,
        max_records: int = 64,
        start_offsets: StartOffsets | None = None,
        check: Check | None = None,
        is_patient: bool = False,  # noqa: ARG002 - all are there at once
    ) -> Part:
        return InMemoryConsumer(self, name, topics, group, handle, max_records, start_offsets, check)

    def table(self, name: str, topic: Topic, apply: Apply) -> Part:
        return InMemoryTable(self, name, topic, apply)

    def pipeline(self, name: str, topics: Sequence[Topic], group: str, handle: Handle) -> Part:
        return InMemoryConsumer(self, name, topics, group, handle, 64, None)

    async def ensure_topics(self, topics: Sequence[Topic], replication: int = 1) -> None:  # noqa: ARG002
        self.partitions |= {topic.name: topic.num_partitions for topic in topics}

    async def end_offsets(self, topics: Sequence[Topic]) -> Mapping[tuple[str, int], int]:
        """Raises: Unavailable while the bus is not available."""
        if not self.is_available:
            raise Unavailable("end offsets could not be read")
        spots = [(topic.name, number) for topic in topics for number in range(topic.num_partitions)]
        return {spot: len(self.logs[spot]) for spot in spots}

    def append(
        self, topic: Topic, value: bytes | None, key: bytes | None, partition: int | None, headers: Mapping[str, str]
    ) -> Record:
        """Put one record at the end of its partition."""
        if partition is None:
            partition = (murmur2(key or b"") & 0x7FFFFFFF) % topic.num_partitions
        log = self.logs[topic.name, partition]
        record = Record(topic.name, partition, len(log), key, value, dict(headers), self.clock.now_ms())
        log.append(record)
        return record


class InMemoryProducer:
    """Sends at once."""

    name = "in-memory producer"

    def __init__(self, bus: InMemoryBus) -> None:
        self._bus = bus

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Nothing to do."""

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to do."""

    async def send(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Raises: Unavailable while the bus is not available, Invalid for what Kafka would never take."""
        await asyncio.sleep(0)
        check_record(topic, value, key)
        if not self._bus.is_available:
            raise Unavailable(f"Kafka did not acknowledge a record for {topic.name}", retry_after_s=1.0)
        with tracing.span(f"send {topic.name}", kind="producer"):
            self._bus.append(topic, value, key, partition, {**(headers or {}), **tracing.inject_headers()})


class InMemoryConsumer:
    """One member that owns every partition of its topics."""

    def __init__(
        self,
        bus: InMemoryBus,
        name: str,
        topics: Sequence[Topic],
        group: str,
        handle: Handle,
        max_records: int,
        start_offsets: StartOffsets | None,
        check: Check | None = None,
    ) -> None:
        self.name = name
        self._bus = bus
        self._topics = {topic.name: topic for topic in topics}
        self._group = group
        self._max_records = max_records
        self._start_offsets = start_offsets
        self._handler = Handler(name, handle, self, Metrics(name), SYSTEM_CLOCK, lambda _: None, check)
        self._intakes: dict[str, Intake] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Read in the background."""
        for topic in self._topics:
            self._intakes[topic] = Intake(self._handler, self._finished, self._max_records, tasks)
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Let work in hand finish within the deadline; what is not finished comes again."""
        task, self._task = self._task, None
        if task is not None:
            await cut([task])
            within_s = deadline.capped(FINISH_WITHIN_S).remaining_s()
            await asyncio.gather(*(intake.finish(within_s) for intake in self._intakes.values()))

    async def park(self, record: Record, error: Exception, attempt: int = 1) -> None:
        """To `<topic>.parked`."""
        topic = self._topics[record.topic].parked
        self._bus.append(topic, record.value, record.key, None, parked_headers(record, error, self.name, attempt))

    async def _run(self) -> None:
        self._next = dict(await self._wanted())
        while True:
            for topic in self._topics.values():
                for number in range(topic.num_partitions):
                    self._read(topic.name, number)
            await asyncio.sleep(POLL_S)

    async def _wanted(self) -> Mapping[tuple[str, int], int]:
        while self._start_offsets is not None:
            try:
                return await self._start_offsets()
            except Exception:  # as the real one: whatever keeps the offsets may be away
                await asyncio.sleep(POLL_S)
        return {}

    def _read(self, topic: str, partition: int) -> None:
        at = self._next.get((topic, partition), self._bus.committed.get((self._group, topic, partition), 0))
        found = self._bus.logs[topic, partition][at:] if self._bus.is_available else []
        if found:
            self._intakes[topic].add(found)
            self._next[topic, partition] = at + len(found)

    async def _finished(self, records: Sequence[Record]) -> None:
        last = records[-1]
        self._bus.committed[self._group, last.topic, last.partition] = last.offset + 1


class InMemoryTable:
    """Applies all that is there, then follows."""

    def __init__(self, bus: InMemoryBus, name: str, topic: Topic, apply: Apply) -> None:
        self.name = name
        self._bus = bus
        self._topic = topic
        self._apply = apply
        self._next: dict[int, int] = defaultdict(int)
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Raises: Unavailable while the bus is not available."""
        if not self._bus.is_available:
            raise Unavailable(f"{self._topic.name} was not read")
        await self._read()
        self._task = tasks.create_task(self._follow())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            await cut([task])

    async def _follow(self) -> None:
        while True:
            await self._read()
            await asyncio.sleep(POLL_S)

    async def _read(self) -> None:
        for partition in range(self._topic.num_partitions):
            log = self._bus.logs[self._topic.name, partition]
            while self._next[partition] < len(log):
                record = log[self._next[partition]]
                self._next[partition] += 1
                await self._apply_one(record)

    async def _apply_one(self, record: Record) -> None:
        try:
            result = self._apply(record)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: S110  # the real table counts and logs it; neither stops reading
            pass
