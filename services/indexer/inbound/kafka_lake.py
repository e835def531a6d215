"""What the lake role does with records of each topic."""

from collections.abc import Mapping, Sequence

from chassis.kafka.record import Record
from protos import topics
from services.indexer.app.write_lake import LakeWriter
from services.indexer.domain.lake_rows import LakeRecord, Table
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.inbound.feeds import feed_of, rows_of

LAKE_TOPICS = (topics.EVENTS_ENRICHED, topics.FEEDS_SERVED)
TABLE_BY_TOPIC = {topics.EVENTS_ENRICHED.name: Table.EVENTS, topics.FEEDS_SERVED.name: Table.FEEDS}
TOPIC_BY_TABLE = {table: topic for topic, table in TABLE_BY_TOPIC.items()}
LAKE_GROUP = "indexer-lake"
MAX_RECORDS = 100_000  # all that one fetch of a partition brought waits for the same commit


class LakeConsumer:
    """Returns from `handle` when a snapshot has the records."""

    def __init__(self, writer: LakeWriter) -> None:
        self._writer = writer

    async def handle(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt, Unavailable."""
        table = TABLE_BY_TOPIC[records[0].topic]
        await self._writer.add(table, [_lake_record(record, table) for record in records])

    async def start_offsets(self) -> Mapping[tuple[str, int], int]:
        """Where each partition goes on: what the newest snapshots cover. Raises: Unavailable."""
        found = await self._writer.start_offsets()
        return {(TOPIC_BY_TABLE[table], partition): offset for (table, partition), offset in found.items()}


def _lake_record(record: Record, table: Table) -> LakeRecord:
    rows = envelope_of(record) if table is Table.EVENTS else rows_of(feed_of(record))
    return LakeRecord(record.partition, record.offset, record.timestamp_ms, rows)
