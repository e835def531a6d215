"""Files to compare served features with: `python -m services.indexer.offline.served_features --out DIR`.

Started by `corkboard diagnose ranker`. Writes logged rankings, and what training would know of their users and pins.
Prints JSON objects: {"progress": …} after each step, {"result": …} or {"error": …} at the end.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chassis.clock import SYSTEM_CLOCK
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, NotFound
from services.indexer.app.merged_events import merged_events
from services.indexer.config import Config
from services.indexer.domain.lake_rows import Table
from services.indexer.inbound.kafka_lake import FEATURE_TOPICS
from services.indexer.offline.catch_up import wait_for_lake
from services.indexer.offline.dataset_rows import histories
from services.indexer.offline.pin_table import enriched_times_ms, pin_table
from services.indexer.outbound.duckdb_labels import unique_events
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import Lake, PinStore
from services.indexer.wiring import iceberg_lake, kafka_bus, redis_store

RANKINGS, HISTORIES, PINS = "rankings.parquet", "histories.parquet", "pins.parquet"
ENRICHED = {"enriched_times_ms": "enriched_time_ms"}
STEPS = ("waiting for the lake", "logged rankings", "histories", "pins")
Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Order:
    """Rankings answered in [since, until), the newest `last` of them."""

    since_ms: int
    until_ms: int
    last: int


async def write_files(lake: IcebergLake, pins: PinStore, order: Order, folder: Path, say: Say) -> dict[str, int]:
    """How many rows each file has. Raises: NotFound when no ranking was logged, Unavailable."""
    rankings = await asyncio.to_thread(_rankings, lake, order)
    say(_step(1))
    past = await asyncio.to_thread(_histories, lake, rankings.column("user_id").unique())
    say(_step(2))
    known = await _pins(pins, rankings, past)
    say(_step(3))
    tables = {RANKINGS: rankings, HISTORIES: past, PINS: known}
    await asyncio.to_thread(_write, folder, tables)
    return {f"num_{name.removesuffix('.parquet')}": table.num_rows for name, table in tables.items()}


def _rankings(lake: IcebergLake, order: Order) -> pa.Table:
    found = lake.stream(Table.FEATURES, order.since_ms, order.until_ms)
    rows = found.read_all() if found is not None else None
    if rows is None or not rows.num_rows:
        raise NotFound(
            "no ranking of that time was logged: RANKER_FEATURE_LOG_SHARE of the root is the share that is",
            reason="nothing_logged",
        )
    return rows.sort_by([("served_time_ms", "descending")]).slice(0, order.last)


def _histories(lake: Lake, user_ids: pa.Array) -> pa.Table:
    """HISTORIES of these users, as data sets have them, and when each event was enriched."""
    events = merged_events(lake)
    if events.num_columns:
        events = events.filter(pc.is_in(events.column("user_id"), value_set=user_ids))
    return histories(unique_events(events), ENRICHED)


async def _pins(pins: PinStore, rankings: pa.Table, past: pa.Table) -> pa.Table:
    lists = (rankings.column("pin_ids"), past.column("pin_ids"))
    wanted = sorted({pin_id for column in lists for row in column.to_pylist() for pin_id in row})
    known = await pin_table(pins, wanted)
    times_ms = await enriched_times_ms(pins, wanted)
    column = [times_ms.get(pin_id, 0) for pin_id in known.column("pin_id").to_pylist()]
    return known.append_column("enriched_time_ms", pa.array(column, pa.int64()))


def _write(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / name)


def _step(number: int) -> dict[str, Any]:
    return {"progress": {"phase": "reading the lake", "done": number + 1, "total": len(STEPS), "step": STEPS[number]}}


async def _run(options: argparse.Namespace, say: Say) -> dict[str, int]:
    config = load(Config, "INDEXER_")
    lake, store = iceberg_lake(config), redis_store(config)
    until_ms = options.until_ms or SYSTEM_CLOCK.now_ms()
    try:
        await wait_for_lake(lake, kafka_bus(config), options.lake_within_s, FEATURE_TOPICS)
        say(_step(0))
        return await write_files(lake, store.pins, Order(options.since_ms, until_ms, options.last), options.out, say)
    finally:
        if store.part is not None:
            await store.part.stop(Deadline.after(1.0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--since-ms", type=int, default=0, help="rankings answered since then, epoch milliseconds")
    parser.add_argument("--until-ms", type=int, default=0, help="and before then; 0 = now")
    parser.add_argument("--last", type=int, default=1_000, help="the newest so many of them")
    parser.add_argument("--lake-within-s", type=float, default=120.0, help="wait for what Kafka has; 0 = do not")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the files are written; settings come from INDEXER_* like the service's."""

    def say(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    try:
        say({"result": asyncio.run(_run(_parser().parse_args(argv), say))})
    except CorkboardError as error:
        say({"error": {"status": error.status, "message": error.message, "field": error.field}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
