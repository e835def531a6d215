"""Rows of the lake's tables, and which Kafka offsets a table covers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa

FEED_COLUMNS: pa.Schema = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("surface", pa.string()),
        ("served_time_ms", pa.int64()),
        ("page", pa.int32()),
        ("sequence_version", pa.int64()),
        ("trace_id", pa.string()),
        ("subject_pin_id", pa.string()),
        ("query", pa.string()),
        ("locale", pa.string()),
        ("versions", pa.string()),
        ("pin_id", pa.string()),
        ("position", pa.int32()),
        ("generator", pa.string()),
        ("retrieval_score", pa.float64()),
        ("score", pa.float64()),
        ("score_by_head", pa.string()),
        ("diversity_bonus", pa.float64()),
        ("spacing_penalty", pa.float64()),
        ("rank_by_score", pa.int32()),
    ]
)
"""One row per served pin; `versions` and `score_by_head` are JSON objects."""

FEATURE_COLUMNS: pa.Schema = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("surface", pa.string()),
        ("request_time_ms", pa.int64()),
        ("served_time_ms", pa.int64()),
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("sequence_version", pa.int64()),
        ("versions", pa.string()),
        ("vector_versions", pa.string()),
        ("defaulted_inputs", pa.list_(pa.string())),
        ("degraded", pa.list_(pa.string())),
        ("num_candidates", pa.int32()),
        ("pin_ids", pa.list_(pa.string())),
        ("event_ids", pa.list_(pa.string())),
        ("num_gapless_events", pa.int32()),
        ("is_whole_history", pa.bool_()),
        ("inputs", pa.binary()),
    ]
)
"""One row per logged ranking, as in `ServedFeatures`. `versions` and `vector_versions` (pins by version) are JSON
objects, `degraded` names what could not be read, `inputs` is a serialised `NamedTensors`."""

USAGE_COLUMNS: pa.Schema = pa.schema(
    [
        ("key", pa.string()),
        ("service", pa.string()),
        ("instance", pa.string()),
        ("zone", pa.string()),
        ("window_start_ms", pa.int64()),
        ("window_ms", pa.int64()),
        ("admitted", pa.float64()),
        ("refused", pa.float64()),
        ("shadow_refused", pa.float64()),
        ("rule_version", pa.int64()),
    ]
)
"""One row per rule, process and window; counts are in units of the rule."""


class Table(Enum):
    """A table that a topic fills: its name, the column its date partition follows from, its other partition columns,
    and what its rows are sorted by before the time."""

    EVENTS = ("events_enriched", "event_time_ms", "event_date", ("event_type",), "user_id")
    FEEDS = ("feeds_served", "served_time_ms", "served_date", (), "user_id")
    FEATURES = ("served_features", "served_time_ms", "served_date", (), "user_id")
    USAGE = ("quota_usage", "window_start_ms", "window_date", (), "key")

    def __init__(
        self, table_name: str, time_column: str, date_column: str, partitions: tuple[str, ...], sorted_by: str
    ) -> None:
        self.table_name = table_name
        self.time_column = time_column
        self.date_column = date_column
        self.partitions = (date_column, *partitions)
        self.sort_columns = (sorted_by, time_column)


@dataclass(frozen=True)
class Covered:
    """Of one Kafka partition: the next offset that is not in the table, and the newest record time that is."""

    next_offset: int
    newest_time_ms: int


Coverage = Mapping[int, Covered]
"""Kafka partition -> what the table has of it."""


@dataclass(frozen=True)
class LakeRecord:
    """The rows of one Kafka record."""

    partition: int
    offset: int
    timestamp_ms: int
    rows: pa.RecordBatch


def is_covered(record: LakeRecord, coverage: Coverage) -> bool:
    """Whether the table has the record. A topic that was made anew starts at offset 0 with newer record times."""
    found = coverage.get(record.partition)
    return found is not None and record.offset < found.next_offset and record.timestamp_ms <= found.newest_time_ms


def extended(coverage: Coverage, records: Sequence[LakeRecord]) -> Coverage:
    """The coverage once these records, in offset order by partition, are in the table as well."""
    found = dict(coverage)
    for record in records:
        newest_ms = max(record.timestamp_ms, found.get(record.partition, Covered(0, 0)).newest_time_ms)
        found[record.partition] = Covered(record.offset + 1, newest_ms)
    return found


def dated(rows: pa.Table, table: Table) -> pa.Table:
    """The rows with their date partition (UTC), sorted so that neighbours compress well."""
    times = rows.column(table.time_column).to_numpy()
    days = np.floor_divide(times, 86_400_000).astype("datetime64[D]")
    with_date = rows.append_column(table.date_column, pa.array(days, type=pa.date32()))
    return with_date.sort_by([(column, "ascending") for column in table.sort_columns])
