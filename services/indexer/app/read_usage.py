"""Used quota as the lake has it: per minute, each window once however often its record came."""

import asyncio
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Invalid
from services.indexer.domain.lake_rows import Table

MINUTE_MS = 60_000
MAX_ROWS = 100_000  # about 10 MB in an answer
WINDOW = ("key", "service", "instance", "zone", "window_start_ms")
MINUTE = ("key", "minute_ms", "service", "zone")
UNITS = ("admitted", "refused", "shadow_refused")
MINUTES: pa.Schema = pa.schema(
    [
        *((name, pa.int64() if name == "minute_ms" else pa.string()) for name in MINUTE),
        *((name, pa.float64()) for name in UNITS),
        ("rule_version", pa.int64()),
        ("num_instances", pa.int64()),
    ]
)

# (table, since, until) -> its rows, file by file; None when there is no table
Stream = Callable[[Table, int, int], pa.RecordBatchReader | None]


class ReadUsage:
    """Over a lake of its own to read from: the writer's belongs to the writer's thread."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lock = asyncio.Lock()

    async def minutes(self, key_prefix: str, from_ms: int, to_ms: int) -> pa.RecordBatch:
        """Rows of `MINUTES` that begin in [from, to), by key and minute.

        Raises: Invalid for a range that is turned around or has too many rows, Unavailable.
        """
        if not 0 <= from_ms <= to_ms:
            raise Invalid(f"time range [{from_ms}, {to_ms}) is turned around or negative", field="from_time_ms")
        async with self._lock:
            found = await asyncio.to_thread(self._read, key_prefix, from_ms, to_ms)
        if found.num_rows > MAX_ROWS:
            raise Invalid(
                f"{found.num_rows:,} minutes, at most {MAX_ROWS:,} are answered: ask for less time or a longer prefix",
                field="from_time_ms",
                reason="too_many_rows",
            )
        return found

    def _read(self, key_prefix: str, from_ms: int, to_ms: int) -> pa.RecordBatch:
        reader = self._stream(Table.USAGE, from_ms, to_ms)
        if reader is None:
            return _empty()
        batches = [batch.filter(pc.starts_with(batch["key"], key_prefix)) for batch in reader]
        return per_minute(pa.Table.from_batches(batches, schema=reader.schema))


def per_minute(windows: pa.Table) -> pa.RecordBatch:
    """Windows, some of them twice, as minutes."""
    if windows.num_rows == 0:
        return _empty()
    values = [(name, "max") for name in (*UNITS, "rule_version")]
    once = windows.group_by(list(WINDOW)).aggregate(values)
    starts = once["window_start_ms"]
    # Times are not negative, so a division of whole numbers rounds down.
    once = once.append_column("minute_ms", pc.multiply(pc.divide(starts, MINUTE_MS), MINUTE_MS))
    summed = once.group_by(list(MINUTE)).aggregate(
        [*((f"{name}_max", "sum") for name in UNITS), ("rule_version_max", "max"), ("instance", "count_distinct")]
    )
    ordered = summed.sort_by([("key", "ascending"), ("minute_ms", "ascending"), ("service", "ascending")])
    columns = [*MINUTE, *(f"{name}_max_sum" for name in UNITS), "rule_version_max_max", "instance_count_distinct"]
    renamed = ordered.select(columns).rename_columns(MINUTES.names).cast(MINUTES)
    return renamed.combine_chunks().to_batches()[0]


def _empty() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=MINUTES)
