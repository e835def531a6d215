"""Reads topics into the online store, beside the consumers that follow them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from chassis.errors import CorkboardError, Verdict
from chassis.kafka.record import Record
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.record_batches import join
from protos import topics
from services.indexer.domain.rebuild_progress import RebuildProgress, Stretch
from services.indexer.inbound.envelopes import envelope_of, where
from services.indexer.inbound.feeds import feed_of, serving_of
from services.indexer.inbound.pins import pin_changes, vectors_of
from services.indexer.offline.store_filling import StoreFilling
from services.indexer.outbound.redis_progress import RedisProgress

Tell = Callable[[str, int, int], None]
"""(phase, done, total), often."""


class RecordLog(Protocol):
    """Topics by offset. Every method raises Unavailable."""

    async def stretches(self, topic: Topic, next_offsets: Mapping[int, int]) -> list[Stretch]:
        """From these offsets, or the beginning, to where each partition ends now."""
        ...

    def read(self, topic: Topic, stretches: Sequence[Stretch]) -> AsyncGenerator[list[Record], None]:
        """Records of one partition at a time, in order within each, then nothing more."""
        ...


log = get_logger(__name__)


class LogReplay:
    """From where the lake's tables end, compacted topics whole, to where each topic ended at the call."""

    def __init__(
        self, kafka: RecordLog, filling: StoreFilling, saved: RedisProgress, progress: RebuildProgress
    ) -> None:
        self._kafka = kafka
        self._filling = filling
        self._saved = saved
        self._progress = progress
        self._handlers: Mapping[str, Callable[[Sequence[Record]], Awaitable[None]]] = {
            topics.EVENTS_ENRICHED.name: self._events,
            topics.FEEDS_SERVED.name: self._feeds,
            topics.PINS_ENRICHED.name: self._pins,
            topics.EMBEDDINGS_PUBLISHED.name: self._vectors,
        }

    async def replay(self, topic: Topic, tell: Tell) -> None:
        """Raises: Unavailable; then another one goes on where this one was.

        Of a compacted topic also what came meanwhile: a pin that was deleted while an older record of it was on its way
        into the store is deleted again.
        """
        if not topic.is_compacted:
            return await self._read(topic, self._progress.next_offsets.setdefault(topic.name, {}), tell, "log")
        offsets: dict[int, int] = {}
        await self._read(topic, offsets, tell, "log")
        return await self._read(topic, offsets, tell, "log since")

    async def _read(self, topic: Topic, offsets: dict[int, int], tell: Tell, phase: str) -> None:
        """From `offsets` on, which move along."""
        stretches = await self._kafka.stretches(topic, offsets)
        offsets.update({one.partition: one.begin for one in stretches})
        num_records, num_done = sum(one.end - one.begin for one in stretches), 0
        self._progress.add(num_gone_from_log=sum(one.num_gone for one in stretches))
        async with aclosing(self._kafka.read(topic, stretches)) as batches:
            async for records in batches:
                await self._apply(topic, records)
                offsets[records[0].partition] = records[-1].offset + 1
                await self._saved.put(self._progress)
                num_done += len(records)
                tell(f"{phase}: {topic.name}", num_done, num_records)

    async def _apply(self, topic: Topic, records: Sequence[Record]) -> None:
        """All together; when one cannot be understood, each alone: the consumers have parked it, it is counted here."""
        handle = self._handlers[topic.name]
        try:
            await handle(records)
        except CorkboardError as error:
            if error.verdict is Verdict.RETRY:
                raise
            if len(records) == 1:
                log.warning("a record was left out", where=where(records[0]), error=error.message)
                self._progress.add(num_left_out=1)
                return
            for record in records:
                await self._apply(topic, [record])

    async def _events(self, records: Sequence[Record]) -> None:
        for envelope in join([envelope_of(record) for record in records]):
            await self._filling.events(envelope, "log")

    async def _feeds(self, records: Sequence[Record]) -> None:
        await self._filling.servings([serving_of(feed_of(record)) for record in records], "log")

    async def _pins(self, records: Sequence[Record]) -> None:
        await self._filling.pins(pin_changes(records))

    async def _vectors(self, records: Sequence[Record]) -> None:
        await self._filling.vectors(*vectors_of(records))
