"""A group of real BatchConsumers on a made-up broker in virtual time: logs, offsets, rebalances, and what goes wrong.

The broker keeps what a real one keeps: records by partition, committed offsets, who holds which partition. A member
that was thrown out keeps working until it learns of it, and its commits are refused.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Corrupt, Unavailable
from chassis.health import Health
from chassis.kafka.connection import Connection
from chassis.kafka.consumer import BatchConsumer
from chassis.kafka.record import Record
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

TOPIC = Topic("simulated", "none", "none", "a test", ("a test",), 3)
GROUP = "group"
FETCH_S = (0.0, 0.05)
COMMIT_S = (0.0, 0.05)
Place = tuple[int, int]  # partition and offset


KINDS = ("away", "store_away", "store_slow", "crash", "stop", "join", "evict", "lose_ack")


@dataclass(frozen=True)
class Fault:
    """`kind` from `begin_s` to `end_s` (away, store_away, store_slow), or at `begin_s` (the others)."""

    kind: str
    begin_s: float
    end_s: float


class Broker:
    """What is written, committed and held; and everything that had an effect, in its order."""

    def __init__(self, rng: random.Random, clock: Clock, num_records: int) -> None:
        self.rng, self.clock = rng, clock
        self.logs: dict[int, list[Any]] = {number: [] for number in range(TOPIC.num_partitions)}
        self.poison: set[Place] = set()
        self.committed: dict[int, int] = defaultdict(int)
        self.members: list[Client] = []
        self.effects: list[Place] = []
        self.is_done: set[Place] = set()
        self.parked: list[Place] = []
        self.too_early: list[Place] = []  # committed before it had its effect
        self.lags_s: dict[Place, float] = {}
        self.is_away = self.is_store_away = self.is_store_slow = self.loses_ack = False
        self._to_write = num_records
        self._rebalancing = asyncio.Lock()  # a member is told of one generation after the other

    async def write(self) -> None:
        """All records, over some seconds; a few are poison."""
        for _ in range(self._to_write):
            await self.clock.sleep(self.rng.expovariate(40.0))
            partition = self.rng.randrange(TOPIC.num_partitions)
            log = self.logs[partition]
            if self.rng.random() < 0.02:
                self.poison.add((partition, len(log)))
            self.lags_s[partition, len(log)] = -self.clock.monotonic_s()
            log.append(_message(partition, len(log)))
        self._to_write = 0

    def is_settled(self) -> bool:
        """Whether everything was written and committed."""
        return not self._to_write and all(self.committed[number] == len(log) for number, log in self.logs.items())

    async def rebalance(self) -> None:
        """Members give up what they have and then get their share."""
        async with self._rebalancing:
            await self._next_generation()

    async def _next_generation(self) -> None:
        members = [one for one in self.members if one.is_member]
        held = [one.held for one in members]
        for one, places in zip(members, held, strict=True):
            await one.listener.on_partitions_revoked(sorted(places))
            one.held = set()
        members = [one for one in self.members if one.is_member]
        for place, one in enumerate(members):
            one.held = {TopicPartition(TOPIC.name, n) for n in self.logs if n % len(members) == place}
            one.position = {tp: self.committed[tp.partition] for tp in one.held}
        for one in members:
            await one.listener.on_partitions_assigned(sorted(one.held))

    async def evict(self) -> None:
        """Take one for dead: what it holds goes to the others, and it learns of it when it is told to join again."""
        if len(self.members) < 2:
            return
        zombie = self.members[self.rng.randrange(len(self.members))]
        async with self._rebalancing:
            zombie.is_member = False
            await self._next_generation()
        await self.clock.sleep(self.rng.uniform(0.5, 3.0))
        if zombie not in self.members:
            return  # stopped or killed meanwhile
        async with self._rebalancing:
            await zombie.listener.on_partitions_revoked(sorted(zombie.held))
            zombie.held, zombie.is_member = set(), True
            await self._next_generation()

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place, offset in sorted(offsets.items()):
            spots = [(place.partition, at) for at in range(self.committed[place.partition], offset)]
            self.too_early += [spot for spot in spots if spot not in self.is_done]
            self.committed[place.partition] = offset

    async def handle(self, records: Sequence[Record]) -> None:
        """The effect of a handler, idempotent by place: the first time is what counts. Raises: as a store does."""
        if self.is_store_slow:
            await self.clock.sleep(self.rng.uniform(0.0, 3.0))
        if self.is_store_away or self.rng.random() < 0.02:
            raise Unavailable("the store is away")
        for record in records:
            place = (record.partition, record.offset)
            if place in self.poison:
                raise Corrupt("nobody can read this")
            if place not in self.is_done:
                self.is_done.add(place)
                self.effects.append(place)
                self.lags_s[place] += self.clock.monotonic_s()

    async def park(self, record: Record, error: Exception, attempt: int = 1) -> None:
        if self.is_away:
            raise Unavailable("Kafka is away")
        place = (record.partition, record.offset)
        if place not in self.is_done:
            self.is_done.add(place)
            self.parked.append(place)


class Client:
    """What BatchConsumer uses of aiokafka's consumer."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.held = broker, set[TopicPartition]()
        self.position: dict[TopicPartition, int] = {}
        self.is_member = False
        self.listener: Any = None

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        self.listener = listener

    async def start(self) -> None:
        self._answer()
        self.is_member = True
        self.broker.members.append(self)
        await self.broker.rebalance()

    async def stop(self) -> None:
        if self in self.broker.members:
            self.is_member = False
            self.broker.members.remove(self)
            await self.broker.rebalance()

    def assignment(self) -> set[TopicPartition]:
        return set(self.held)

    async def getmany(self, *places: TopicPartition, timeout_ms: int, max_records: int | None) -> Any:
        broker = self.broker
        await broker.clock.sleep(broker.rng.uniform(*FETCH_S))
        self._answer()
        found = {}
        for place in sorted(places):
            log = broker.logs[place.partition]
            at = self.position.get(place, len(log))
            end = min(len(log), at + broker.rng.randint(1, 8))
            if at < end and place in self.held:
                found[place] = log[at:end]
                self.position[place] = end
        if not found:
            await broker.clock.sleep(timeout_ms / 1_000)
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        broker = self.broker
        await broker.clock.sleep(broker.rng.uniform(*COMMIT_S))
        self._answer()
        if not self.is_member or not set(offsets) <= self.held:
            raise CommitFailedError("not a member of this generation")
        broker.commit(offsets)
        if broker.loses_ack:
            broker.loses_ack = False
            raise KafkaConnectionError("the answer got lost")

    def highwater(self, place: TopicPartition) -> int:
        return len(self.broker.logs[place.partition])

    def last_poll_timestamp(self, _: TopicPartition) -> int:
        return self.broker.clock.now_ms()

    def _answer(self) -> None:
        if self.broker.is_away:
            raise KafkaConnectionError("the broker is away")


class Parker:
    """As the chassis' own: a part that parks."""

    def __init__(self, broker: Broker) -> None:
        self.park = broker.park

    async def start(self, _: asyncio.TaskGroup) -> None:
        pass

    async def stop(self, _: Deadline) -> None:
        pass


class Process:
    """One consumer with a task group of its own, so that it can be killed alone."""

    def __init__(self, broker: Broker, new_consumer: Callable[..., BatchConsumer]) -> None:
        self.broker = broker
        self.consumer = new_consumer(
            "simulated",
            [TOPIC],
            GROUP,
            broker.handle,
            connection=Connection("", "", "simulated"),
            parker=Parker(broker),
            metrics=Metrics("simulated"),
            health=Health(),
            clock=broker.clock,
            max_records=16,
            start_offsets=None,
        )
        self._asked = asyncio.Event()
        self._task = asyncio.ensure_future(self._live())

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            await self.consumer.start(tasks)
            await self._asked.wait()
            await self.consumer.stop(Deadline.after(8.0, self.broker.clock))

    async def stop(self) -> None:
        """In order."""
        self._asked.set()
        await self._task

    async def crash(self) -> None:
        """As SIGKILL: nothing is finished or said; the broker notices when the session is over."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.broker.clock.sleep(self.broker.rng.uniform(0.5, 10.0))
        for mine in [one for one in self.broker.members if one.listener._consumer is self.consumer]:
            mine.is_member = False
            mine.held = set()
            self.broker.members.remove(mine)
        await self.broker.rebalance()


def _message(partition: int, offset: int) -> Any:
    return SimpleNamespace(
        topic=TOPIC.name, partition=partition, offset=offset, key=None, value=b"", headers=(), timestamp=0
    )


async def _nothing(*_: Any) -> None:
    """Topics are always there."""


async def _disconnect(client: Client, within_s: float) -> str:
    """In the loop's own time."""
    try:
        async with asyncio.timeout(max(0.1, within_s)):
            await client.stop()
    except (TimeoutError, KafkaConnectionError) as error:
        return type(error).__name__
    return ""


def patched(broker: Broker) -> Mapping[str, Any]:
    """What of the consumer's module the simulation replaces."""
    return {"AIOKafkaConsumer": lambda **_: Client(broker), "wait_for_topics": _nothing, "disconnect": _disconnect}
