"""The lake's events by user: spilled to local files once, then read one shard after the other.

The lake is laid out by time; a user's sequence wants all of the user's events, in the order in which they arrived.
"""

import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Corrupt
from services.indexer.domain.merge import IS_FILTERED

NUM_SHARDS = 64  # of 100 million events each has 1.6 million, which fit into memory
ROWS_PER_WRITE = 2_000  # one round trip of about 50 ms
MEMORY_LIMIT = "1GB"
_SPILL = """
    COPY (SELECT *, row_number() OVER () AS place, (hash(user_id) % {num_shards})::INTEGER AS shard FROM events)
    TO '{folder}' (FORMAT parquet, PARTITION_BY (shard), OVERWRITE_OR_IGNORE)
"""
# Of an id, the first payload is the one that was kept; of that payload the row that the merge of both layers prefers.
_SHARD = """
    WITH events AS (
        SELECT *, md5(concat_ws(chr(31), event_type, event_time_ms, pin_id, surface, request_id, hex(attributes)))
            AS payload FROM read_parquet('{files}', hive_partitioning = false)
    ), first_said AS (
        SELECT *, first_value(payload) OVER arrival AS first_payload,
            min(enriched_time_ms) OVER one_id AS arrived_ms FROM events
        WINDOW one_id AS (PARTITION BY user_id, event_id),
            arrival AS (PARTITION BY user_id, event_id ORDER BY enriched_time_ms, received_time_ms, place)
    ), best AS (
        SELECT * FROM first_said WHERE payload = first_payload
        QUALIFY row_number() OVER (
            PARTITION BY user_id, event_id
            ORDER BY in_charge_ms DESC, enriched_time_ms DESC, is_batch DESC, definitions_version DESC, place
        ) = 1
    )
    SELECT * EXCLUDE (payload, first_payload, arrived_ms, place, in_charge_ms, is_batch) FROM best
    ORDER BY user_id, arrived_ms, received_time_ms, place
"""


class LakeShards:
    """Files of one rebuild in a folder of its own."""

    def __init__(self, folder: Path, rebuild_id: str, num_shards: int = NUM_SHARDS) -> None:
        self._root = folder
        self._folder = folder / rebuild_id
        self.num_shards = num_shards

    def spill(self, events: pa.RecordBatchReader | None) -> None:
        """Write all shards anew; what an earlier rebuild left is removed. Blocks."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._folder.mkdir(parents=True)
        if events is None:
            return
        with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as connection:
            connection.register("events", events)
            connection.execute(_SPILL.format(num_shards=self.num_shards, folder=self._folder))

    @property
    def is_here(self) -> bool:
        """Whether the folder is on this machine."""
        return self._folder.is_dir()

    def batches(self, shard: int) -> list[pa.RecordBatch]:
        """Events of some users, user by user, in the order of arrival, each id once. Blocks. Raises: Corrupt."""
        found = self.decided(shard)
        kept = found.filter(pc.invert(found.column(IS_FILTERED))).drop_columns([IS_FILTERED]) if len(found) else found
        return list(kept.to_batches(max_chunksize=ROWS_PER_WRITE))

    def decided(self, shard: int) -> pa.Table:
        """As `batches`, and besides the events that batch filters, with IS_FILTERED to tell them; no columns without
        any. Blocks. Raises: Corrupt."""
        files = self._folder / f"shard={shard}"
        if not files.is_dir():
            return pa.table({})
        try:
            with duckdb.connect() as connection:
                return connection.sql(_SHARD.format(files=files / "*.parquet")).to_arrow_table()
        except duckdb.Error as error:
            raise Corrupt(f"shard {shard} of {self._folder} is not readable: {error}", reason="bad_shard") from error

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self._root, ignore_errors=True)
