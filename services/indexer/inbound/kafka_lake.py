"""What the lake role does with records of each topic."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from chassis.kafka.record import Record
from protos import topics
from services.indexer.app.write_lake import LakeWriter
from services.indexer.domain.lake_rows import LakeRecord, Table
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.inbound.features import feature_rows_of
from services.indexer.inbound.feeds import feed_of, rows_of
from services.indexer.inbound.usage import usage_rows_of

HISTORY_TOPICS = (topics.EVENTS_ENRICHED, topics.FEEDS_SERVED)
FEATURE_TOPICS = (topics.EVENTS_ENRICHED, topics.FEATURES_SERVED)
LAKE_TOPICS = (*HISTORY_TOPICS, topics.FEATURES_SERVED, topics.QUOTA_USAGE)
TABLE_BY_TOPIC = {
    topics.EVENTS_ENRICHED.name: Table.EVENTS,
    topics.FEEDS_SERVED.name: Table.FEEDS,
    topics.FEATURES_SERVED.name: Table.FEATURES,
    topics.QUOTA_USAGE.name: Table.USAGE,
}
LAKE_GROUP = "indexer-lake"
MAX_RECORDS = 100_000  # all that one fetch of a partition brought waits for the same commit


class LakeConsumer:
    """Returns from `handle` when a snapshot has the records."""

    def __init__(self, writer: LakeWriter, shadow: str = "") -> None:
        self._writer = writer
        self.topics = (topics.EVENTS_ENRICHED.shadow(shadow),) if shadow else LAKE_TOPICS
        self._tables = {self.topics[0].name: Table.EVENTS} if shadow else TABLE_BY_TOPIC

    async def handle(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt, Unavailable."""
        table = self._tables[records[0].topic]
        await self._writer.add(table, [_lake_record(record, table) for record in records])

    def check(self, record: Record) -> None:
        """Whether the record can have rows at all; a batch takes a commit, so it is not to be halved to find out.

        Raises: Corrupt.
        """
        _lake_record(record, self._tables[record.topic])

    async def start_offsets(self) -> Mapping[tuple[str, int], int]:
        """Where each partition goes on: what the newest snapshots cover. Raises: Unavailable."""
        found = await self._writer.start_offsets()
        topic_of = {table: topic for topic, table in self._tables.items()}
        return {(topic_of[table], at): offset for (table, at), offset in found.items() if table in topic_of}


def _lake_record(record: Record, table: Table) -> LakeRecord:
    return LakeRecord(record.partition, record.offset, record.timestamp_ms, ROWS_OF[table](record))


ROWS_OF: Mapping[Table, Callable[[Record], pa.RecordBatch]] = {
    Table.EVENTS: envelope_of,
    Table.FEEDS: lambda record: rows_of(feed_of(record)),
    Table.FEATURES: feature_rows_of,
    Table.USAGE: usage_rows_of,
}
"""What turns a record into rows of each table."""
