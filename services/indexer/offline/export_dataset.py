"""Writes a data set bundle: `python -m services.indexer.offline.export_dataset --name demo`."""

import argparse
import asyncio
import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from chassis.bundles import BundleStore
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import NotFound
from chassis.kafka.bus import Bus
from sequences.dataset import HISTORIES_FILE, PINS_FILE, SERVED_FILE, TRAINING_ROWS_FILE
from sequences.definitions.definitions import Definitions
from services.indexer.app.merged_events import merged_events
from services.indexer.config import Config
from services.indexer.domain.lake_rows import Table
from services.indexer.offline.catch_up import wait_for_lake
from services.indexer.offline.dataset_rows import histories, labelled, labelled_candidates
from services.indexer.offline.day_files import write_training_rows
from services.indexer.offline.definitions_in_use import definitions_in_use
from services.indexer.offline.pin_table import pin_table
from services.indexer.offline.sequence_events import sequence_events
from services.indexer.offline.training_requests import training_requests
from services.indexer.outbound.duckdb_labels import unique_events
from services.indexer.ports import Lake, PinStore
from services.indexer.wiring import iceberg_lake, kafka_bus, redis_store

SEQUENCE = "engagement"
LAKE_WITHIN_S = 120.0  # four commit intervals of production
DEFAULT_WINDOW_H = 24.0  # most actions on a served pin follow within a day


@dataclass(frozen=True)
class Exported:
    """A written bundle: `path` is the local folder to open, `rows` counts them by file."""

    name: str
    version: str
    path: str
    uri: str
    manifest_sha256: str
    rows: Mapping[str, int]


async def export(
    name: str,
    lake: Lake,
    pins: PinStore,
    bundles: BundleStore,
    window_h: float,
    definitions: Definitions | None = None,
) -> Exported:
    """Write `dataset-<name>`; its version follows from its content, so the same data writes nothing new.

    With definitions, training rows are in it: served requests with the sequence SEQUENCE as of each.

    Raises: Unavailable when the lake or the online store is away.
    """
    events = unique_events(await asyncio.to_thread(merged_events, lake))
    served = await asyncio.to_thread(lake.read, Table.FEEDS)
    tables = {
        HISTORIES_FILE: histories(events),
        PINS_FILE: await pin_table(pins, sorted({pin_id async for pin_id in pins.pin_ids()})),
        SERVED_FILE: labelled(served, events, int(window_h * 3_600_000)),
    }
    files = {path: _parquet(table) for path, table in tables.items()}
    if definitions is not None and served.num_rows:
        rows = labelled_candidates(served, events, int(window_h * 3_600_000))
        files[TRAINING_ROWS_FILE] = await asyncio.to_thread(_training_rows, lake, definitions, rows)
    digest = hashlib.sha256(b"".join(hashlib.sha256(files[path]).digest() for path in sorted(files))).hexdigest()
    inputs = {f"rows:{path}": str(table.num_rows) for path, table in tables.items()}
    inputs["attribution_window_h"] = f"{window_h:g}"
    release = await asyncio.to_thread(bundles.write, f"dataset-{name}", f"v-{digest[:12]}", files, inputs)
    rows = {path: table.num_rows for path, table in tables.items()}
    path = await asyncio.to_thread(bundles.open, release)
    return Exported(release.name, release.version, str(path), release.uri, release.manifest_sha256, rows)


def _training_rows(lake: Lake, definitions: Definitions, served: pa.Table) -> bytes:
    sink = io.BytesIO()
    write_training_rows(partial(training_requests, served, sequence_events(lake, definitions, SEQUENCE)))(sink, {})
    return sink.getvalue()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


async def _run(arguments: argparse.Namespace) -> Exported:
    config = load(Config, "INDEXER_")
    store, lake = redis_store(config), iceberg_lake(config)
    try:
        await wait_for_lake(lake, kafka_bus(config), arguments.lake_within_s)
        bundles = BundleStore(config.bundles_uri)
        definitions = await _definitions(kafka_bus(config), bundles)
        return await export(arguments.name, lake, store.pins, bundles, arguments.attribution_window_h, definitions)
    finally:
        if store.part is not None:
            await store.part.stop(Deadline.after(1.0))


async def _definitions(bus: Bus, bundles: BundleStore) -> Definitions | None:
    """None before the first activation: then there is no sequence to speak of."""
    try:
        return await definitions_in_use(bus, bundles)
    except NotFound:
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Prints where the bundle is; settings come from INDEXER_* like the service's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="the bundle is called dataset-<name>")
    parser.add_argument(
        "--attribution-window-h",
        type=float,
        default=DEFAULT_WINDOW_H,
        help="hours after serving within which an action counts as its effect",
    )
    parser.add_argument(
        "--lake-within-s",
        type=float,
        default=LAKE_WITHIN_S,
        help="longest wait until the lake holds what Kafka had at the start; 0 = take it as it is",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of the path")
    arguments = parser.parse_args(argv)
    exported = asyncio.run(_run(arguments))
    sys.stdout.write((json.dumps(asdict(exported)) if arguments.json else exported.path) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
