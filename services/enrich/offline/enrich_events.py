"""Enriches accepted events from Parquet files: the same engine as the stream, over history.

python -m services.enrich.offline.enrich_events --definitions BUNDLE_DIR --input A.parquet --output B.parquet
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from protos import event_schema
from sequences.definitions import bundle
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup, CacheLimits, LookupSource, NoLookups, Row
from sequences.engine.plan import plan_for
from sequences.engine.provenance import sign

BATCH_ROWS = 8_192
ROW_GROUP_ROWS = 131_072
FAILURES = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("enrichment", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
log = get_logger(__name__)


@dataclass(frozen=True)
class Counts:
    """num_in = num_out + num_filtered + num_failed."""

    num_in: int
    num_out: int
    num_filtered: int
    num_failed: int


class PinTable:
    """Look-ups from a pins.parquet: every pin in memory."""

    def __init__(self, path: Path) -> None:
        self._rows: dict[str, Row] = {row["pin_id"]: row for row in _pin_columns(path).to_pylist()}

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        return {key: self._rows[key] for key in keys if key in self._rows}


def enrich_files(
    definitions: Definitions, source: Path, target: Path, pins: LookupSource, clock: Clock = SYSTEM_CLOCK
) -> Counts:
    """Write the enriched rows to `target` and the failed ones beside it as `<name>.failures.parquet`.

    `target` appears whole or not at all. Raises: Invalid when the columns are not those of accepted events.
    """
    return asyncio.run(_enrich_files(definitions, source, target, pins, clock))


async def _enrich_files(
    definitions: Definitions, source: Path, target: Path, pins: LookupSource, clock: Clock
) -> Counts:
    engine = Engine(plan_for(definitions), CachedLookup(pins, CacheLimits(max_rows=2 * BATCH_ROWS)))
    partial = target.with_name(f".{target.name}.partial")
    num_in = num_out = num_filtered = 0
    failures: list[dict[str, str]] = []
    try:
        with pq.ParquetWriter(partial, enriched_schema(definitions), compression="zstd") as writer:
            for batch in _batches(source):
                result = await engine.run(batch)
                writer.write_batch(sign(result.batch, definitions.version, clock.now_ms()), ROW_GROUP_ROWS)
                num_in += batch.num_rows
                num_out += result.batch.num_rows
                num_filtered += sum(result.filtered.values())
                failures.extend(
                    {
                        "event_id": batch.column("event_id")[failure.row].as_py(),
                        "user_id": batch.column("user_id")[failure.row].as_py(),
                        "enrichment": failure.enrichment,
                        "reason": failure.reason,
                    }
                    for failure in result.failures
                )
                log.info("enriched", num_in=num_in, num_out=num_out, num_failed=len(failures))
        pq.write_table(pa.Table.from_pylist(failures, FAILURES), target.with_suffix(".failures.parquet"))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        engine.close()
    return Counts(num_in, num_out, num_filtered, len(failures))


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    columns = event_schema.ACCEPTED.names
    yield from pa.dataset.dataset(source, format="parquet").to_batches(columns=columns, batch_size=BATCH_ROWS)


def _pin_columns(path: Path) -> pa.Table:
    schema = pq.read_schema(path)
    return pq.read_table(path, columns=[name for name in schema.names if name != "content_vector"])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every row was enriched, filtered or counted as failed; 1 when the job could not run."""
    parser = argparse.ArgumentParser(description="Enrich accepted events from Parquet files.")
    parser.add_argument("--definitions", type=Path, required=True, help="directory with definitions.json")
    parser.add_argument("--input", type=Path, required=True, help="Parquet file or folder of accepted events")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--pins", type=Path, help="pins.parquet for look-ups; without it they find nothing")
    options = parser.parse_args(arguments)
    try:
        definitions = bundle.load(options.definitions)
        check(definitions)
        pins: LookupSource = PinTable(options.pins) if options.pins else NoLookups()
        counts = enrich_files(definitions, options.input, options.output, pins)
    except (CorkboardError, OSError, pa.ArrowException) as error:
        log.error("enrichment failed", error=str(error))
        return 1
    log.info(
        "done",
        num_in=counts.num_in,
        num_out=counts.num_out,
        num_filtered=counts.num_filtered,
        num_failed=counts.num_failed,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
