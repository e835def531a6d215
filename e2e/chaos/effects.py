"""Looks behind the commits of a house under load: what lies before a committed offset must have had its effect.

enrich commits events.accepted: each event there is in events.enriched. The indexer commits events.enriched: each event
there is in its user's sequence. Offsets are read first and effects afterwards: a commit that comes too early is seen.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.errors import CorkboardError, Corrupt
from chassis.kafka import arrow
from chassis.kafka.topic import Topic
from corkboard.session import Session
from e2e.chaos.history import Record
from e2e.house import House
from e2e.surface import sequence
from protos import topics

EVERY_S = 2.0
POLL_MS = 300
LOOK_WITHIN_S = 20.0
MAX_USERS = 20  # sequences read in one look: the load itself needs the house
RUN = "chaos-"  # users of a run begin with it; others are none of ours
Add = Callable[[Record], None]


@dataclass
class _Log:
    """One topic as it was read so far: (event, user) by partition and offset, oldest first."""

    topic: Topic
    rows: dict[int, list[tuple[int, str, str]]] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)

    def add(self, partition: int, offset: int, value: bytes | None) -> None:
        try:
            batch = arrow.decode(value)
        except Corrupt:
            return  # poison has no effect but to be parked
        for event, user in zip(batch.column("event_id").to_pylist(), batch.column("user_id").to_pylist(), strict=True):
            if user.startswith(RUN):
                self.events.add(event)
                self.rows.setdefault(partition, []).append((offset, event, user))

    def between(self, begin: Mapping[int, int], end: Mapping[int, int]) -> list[tuple[str, str]]:
        """(event, user) from the one offset of each partition to before the other."""
        return [
            (event, user)
            for partition, offset in end.items()
            for at, event, user in self.rows.get(partition, ())
            if begin.get(partition, 0) <= at < offset
        ]


class Effects:
    """Of one run: reads from the ends that the topics have when it is entered."""

    def __init__(self, session: Session, house: House, add: Add, now_s: Callable[[], float]) -> None:
        self._session, self._house, self._add, self._now_s = session, house, add, now_s
        self._accepted, self._enriched = _Log(topics.EVENTS_ACCEPTED), _Log(topics.EVENTS_ENRICHED)
        self._looked_at: dict[str, dict[int, int]] = {}
        self._reader = AIOKafkaConsumer(bootstrap_servers=house.endpoints.kafka, request_timeout_ms=2_000)

    async def __aenter__(self) -> Self:
        await self._reader.start()
        logs = (self._accepted, self._enriched)
        places = [TopicPartition(log.topic.name, n) for log in logs for n in range(log.topic.num_partitions)]
        self._reader.assign(places)
        await self._reader.seek_to_end(*places)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.stop()

    async def watch(self) -> None:
        """Until it is cancelled; while the broker or the store is away there is nothing to look at."""
        while True:
            with suppress(KafkaError, OSError, TimeoutError, CorkboardError):
                async with asyncio.timeout(LOOK_WITHIN_S):
                    await self._look()
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> None:
        committed = await _committed(self._house.endpoints.kafka)
        await self._read_on()
        for group, offsets in committed.items():
            log = self._accepted if group.startswith("enrich") else self._enriched
            behind = log.between(self._looked_at.get(group, {}), offsets)
            if not behind:
                continue
            missing = self._not_enriched(behind) if log is self._accepted else await self._not_stored(behind)
            self._looked_at[group] = offsets
            value = {"num_events": len(behind), "missing": missing}
            self._add(Record(self._now_s(), "kafka-1", "commit", group, value))

    async def _read_on(self) -> None:
        """To the ends as they are now, which are after the effects of all that is committed by now."""
        logs = {log.topic.name: log for log in (self._accepted, self._enriched)}
        ends = await self._reader.end_offsets(self._reader.assignment())
        while any([await self._reader.position(partition) < end for partition, end in ends.items()]):
            batches = await self._reader.getmany(timeout_ms=POLL_MS)
            for partition, records in batches.items():
                for record in records:
                    logs[partition.topic].add(partition.partition, record.offset, record.value)

    def _not_enriched(self, behind: Iterable[tuple[str, str]]) -> list[str]:
        return [event for event, _ in behind if event not in self._enriched.events]

    async def _not_stored(self, behind: Sequence[tuple[str, str]]) -> list[str]:
        """Of the events of some users; reading all would be a load of its own. Raises: CorkboardError."""
        users = list(dict.fromkeys(user for _, user in behind))[:MAX_USERS]
        held = {user: {event for _, event, _ in await sequence(self._session, user)} for user in users}
        return [event for event, user in behind if user in held and event not in held[user]]


async def _committed(bootstrap: str) -> dict[str, dict[int, int]]:
    """Group -> partition -> committed offset, of enrich's group and the indexer's. Raises: KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2_000)
    await admin.start()
    try:
        found: dict[str, dict[int, int]] = {}
        for group, _ in await admin.list_consumer_groups():
            topic = {"enrich": topics.EVENTS_ACCEPTED, "indexer-online": topics.EVENTS_ENRICHED}.get(_kind(group))
            if topic is None:
                continue
            offsets = await admin.list_consumer_group_offsets(group)
            found[group] = {
                place.partition: meta.offset
                for place, meta in offsets.items()
                if place.topic == topic.name and meta.offset >= 0
            }
        return found
    finally:
        await admin.close()


def _kind(group: str) -> str:
    return next((kind for kind in ("enrich", "indexer-online") if group.startswith(kind)), "")
