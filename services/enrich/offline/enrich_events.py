"""Enriches accepted events from Parquet files: the same engine as the stream, over history.

python -m services.enrich.offline.enrich_events --definitions BUNDLE_DIR --input A.parquet --output B.parquet
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import CorkboardError, Invalid
from chassis.logs import get_logger
from protos import event_schema
from sequences.definitions import bundle
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check
from sequences.engine.lookup import LookupSource, NoLookups
from sequences.engine.provenance import sign
from sequences.engine.runtimes.job import BATCH_ROWS, Job
from sequences.engine.runtimes.local import run_local
from sequences.engine.runtimes.outcome import FAILURES, Outcome
from sequences.engine.runtimes.ray_data import run_on_ray
from services.enrich.offline.pin_table import PinTable

ROW_GROUP_ROWS = 131_072
WORKERS = 2
RuntimeName = Literal["local", "ray"]
log = get_logger(__name__)


@dataclass(frozen=True)
class Counts:
    """num_in = num_out + num_filtered + num_failed."""

    num_in: int
    num_out: int
    num_filtered: int
    num_failed: int


def enrich_files(
    definitions: Definitions,
    source: Path,
    target: Path,
    lookups: Callable[[], LookupSource] = NoLookups,
    *,
    runtime: RuntimeName = "local",
    num_workers: int = WORKERS,
    clock: Clock = SYSTEM_CLOCK,
) -> Counts:
    """Write the enriched rows to `target` and the failed ones beside it as `<name>.failures.parquet`.

    Both appear whole or not at all. Raises: Invalid when the columns are not those of accepted events, or the runtime
    is not installed; Unavailable when a look-up that may not be missing, or a worker, fails.
    """
    job = Job.of(definitions, lookups)
    _check_columns(source)
    outcomes = run_on_ray(job, source, num_workers) if runtime == "ray" else run_local(job, _batches(source))
    return _write(definitions, outcomes, target, clock)


def _write(definitions: Definitions, outcomes: Iterable[Outcome], target: Path, clock: Clock) -> Counts:
    partial_target = target.with_name(f".{target.name}.partial")
    num_in = num_out = 0
    failures = [FAILURES.empty_table()]
    try:
        with pq.ParquetWriter(partial_target, enriched_schema(definitions), compression="zstd") as writer:
            for outcome in outcomes:
                for batch in outcome.enriched.to_batches():
                    writer.write_batch(sign(batch, definitions.version, clock.now_ms()), ROW_GROUP_ROWS)
                num_in, num_out = num_in + outcome.num_in, num_out + outcome.enriched.num_rows
                failures.append(outcome.failures)
                log.info("enriched", num_in=num_in, num_out=num_out)
        failed = pa.concat_tables(failures)
        pq.write_table(failed, target.with_suffix(".failures.parquet"))
        partial_target.replace(target)
    finally:
        partial_target.unlink(missing_ok=True)
    return Counts(num_in, num_out, num_in - num_out - failed.num_rows, failed.num_rows)


def _check_columns(source: Path) -> None:
    names = pa.dataset.dataset(source, format="parquet").schema.names
    absent = [name for name in event_schema.ACCEPTED.names if name not in names]
    if absent:
        raise Invalid(f"{source.name} lacks the columns {', '.join(absent)}", field=absent[0], reason="bad_schema")


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    columns = event_schema.ACCEPTED.names
    yield from pa.dataset.dataset(source, format="parquet").to_batches(columns=columns, batch_size=BATCH_ROWS)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every row was enriched, filtered or counted as failed; 1 when the job could not run."""
    parser = argparse.ArgumentParser(description="Enrich accepted events from Parquet files.")
    parser.add_argument("--definitions", type=Path, required=True, help="directory with definitions.json")
    parser.add_argument("--input", type=Path, required=True, help="Parquet file or folder of accepted events")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--pins", type=Path, help="pins.parquet for look-ups; without it they find nothing")
    parser.add_argument("--runtime", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes of --runtime ray, at most")
    options = parser.parse_args(arguments)
    lookups = partial(PinTable, options.pins.resolve()) if options.pins else NoLookups
    try:
        definitions = bundle.load(options.definitions)
        check(definitions)
        counts = enrich_files(
            definitions, options.input, options.output, lookups, runtime=options.runtime, num_workers=options.workers
        )
    except (CorkboardError, OSError, pa.ArrowException) as error:
        log.error("enrichment failed", error=str(error))
        return 1
    log.info("done", **asdict(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
