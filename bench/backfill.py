"""Reprocessing a year of one event type: MovieLens ten times over through the engine into the lake, then published.

`python -m bench.backfill [--data FOLDER] [--json]` needs no house: the lake is Iceberg in a temporary folder, the pins
are in memory, everything else is the real job. The merge is timed against DuckDB's window function on the same rows.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from bench import machine
from bench.load import gate
from chassis.clock import SYSTEM_CLOCK
from corkboard.movielens.reader import MovieLens, pin_id
from protos.event_schema import ACCEPTED
from sequences.definitions.columns import enriched_schema
from sequences.definitions.testing import repository_definitions
from services.indexer.app.backfill import Order
from services.indexer.app.merged_events import merged_events
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.layers import RUN_ID
from services.indexer.domain.merge import MERGED_ON
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.offline.backfill import backfill
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinRows
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState

RESULT = Path(__file__).parent / "results" / "backfill.json"
COPIES = 10
GOAL_S = 60.0
ROUNDS = 3
DAY_MS = 86_400_000
NUM_USERS, NUM_PINS, NUM_RATINGS = 943, 1_682, 100_000  # of the synthetic stand-in, as in MovieLens
PEER = """
    SELECT event_id FROM rows QUALIFY row_number() OVER (
        PARTITION BY user_id, event_type, event_id ORDER BY enriched_time_ms DESC, definitions_version DESC
    ) = 1
"""
T = TypeVar("T")


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Seconds of the whole backfill, and of the merge afterwards; CORKBOARD_MOVIELENS names real ratings."""
    if folder is None and (named := os.environ.get("CORKBOARD_MOVIELENS")):
        folder = Path(named).parent
    ratings, source = _ratings(folder)
    with tempfile.TemporaryDirectory() as place:
        lake, events = IcebergLake(place), _events(ratings)
        lake.coverage(Table.EVENTS)
        lake.append(Table.EVENTS, dated(events, Table.EVENTS), {})
        pins = asyncio.run(_pins(ratings))
        times_ms = events.column("event_time_ms").to_numpy()
        definitions = repository_definitions()
        until_ms = (int(times_ms.max()) // DAY_MS + 1) * DAY_MS
        order = Order("rating", int(times_ms.min()) // DAY_MS * DAY_MS, until_ms, definitions.version, {})
        done, backfill_s = _timed(lambda: asyncio.run(backfill(lake, pins, definitions, order, lambda _: None)))
        assert done.run.num_kept == events.num_rows, f"{done.run.num_kept} of {events.num_rows} events came through"
        merge = _merge(lake, events.num_rows)
    rate = events.num_rows / backfill_s
    row = {"name": "backfill", "events": events.num_rows, "seconds": round(backfill_s, 2), "events_per_s": round(rate)}
    return {
        "data": source,
        "rows": [row, merge],
        "gates": [gate(f"seconds for {events.num_rows:,} events, engine included", backfill_s, GOAL_S)],
    }


def _merge(lake: IcebergLake, num_events: int) -> dict[str, Any]:
    """Ours and the peer in turns; both must find the same events."""
    ours_s, peer_s = [], []
    for _ in range(ROUNDS):
        merged, seconds = _timed(lambda: merged_events(lake, ["event_id"]))
        ours_s.append(seconds)
        found, seconds = _timed(lambda: _peer(lake))
        peer_s.append(seconds)
        ids = [set(each.column("event_id").to_pylist()) for each in (merged, found)]
        assert ids[0] == ids[1] and merged.num_rows == found.num_rows == num_events, "the two merges differ"
    return {
        "name": "read the merged view",
        "rows_in": 2 * num_events,
        "seconds": round(min(ours_s), 2),
        "duckdb_seconds": round(min(peer_s), 2),
        "times_as_fast_as_duckdb": round(min(peer_s) / min(ours_s), 2),
    }


def _peer(lake: IcebergLake) -> pa.Table:
    """The same two tables, read the same way, merged by a window function that knows no corrections."""
    layers = lake.event_layers(list(MERGED_ON))
    parts = [part.select(MERGED_ON) for part in (layers.parts.stream, layers.parts.batch)]
    with duckdb.connect() as connection:
        connection.register("rows", pa.concat_tables(parts, promote_options="permissive"))
        return connection.sql(PEER).to_arrow_table()


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start_s = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start_s


def _ratings(folder: Path | None) -> tuple[list[tuple[str, str, float, int]], str]:
    """(user, pin, rating, epoch seconds) of the data set, or seeded ones of the same shape."""
    if folder is not None and folder.exists():
        read = MovieLens.read(folder, SYSTEM_CLOCK.now_ms())
        found = [(each.user, pin_id(each.item), each.rating, each.time_s) for each in read.ratings]
        return found, f"MovieLens 100k, {COPIES} times"
    random = np.random.default_rng(7)
    users, items = random.integers(NUM_USERS, size=NUM_RATINGS), random.integers(NUM_PINS, size=NUM_RATINGS)
    stars, times_s = random.integers(1, 6, NUM_RATINGS), 874_724_710 + random.integers(214 * 86_400, size=NUM_RATINGS)
    rows = zip(users.tolist(), items.tolist(), stars.tolist(), times_s.tolist(), strict=True)
    return [(str(u), pin_id(str(i)), float(r), t) for u, i, r, t in rows], "synthetic, seed 7"


def _events(ratings: list[tuple[str, str, float, int]]) -> pa.Table:
    """What the stream would have written: enriched rows without what a look-up finds."""
    users, pins, stars, times_s = zip(*ratings, strict=True)
    times_ms = np.asarray(times_s, dtype=np.int64) * 1000
    copies = []
    for copy in range(COPIES):
        given: Mapping[str, Any] = {
            "event_id": [f"ml-{copy}-{number}" for number in range(len(ratings))],
            "user_id": [f"ml-user-{copy}-{user}" for user in users],
            "event_type": ["rating"] * len(ratings),
            "event_time_ms": times_ms,
            "received_time_ms": times_ms + 20,
            "pin_id": pins,
            "surface": ["home"] * len(ratings),
            **{name: [""] * len(ratings) for name in ("request_id", "traceparent")},
            "attributes": [json.dumps({"rating": each}).encode() for each in stars],
        }
        copies.append(pa.table(given, schema=ACCEPTED))
    events = pa.concat_tables(copies).combine_chunks()
    provenance = {"definitions_version": pa.repeat("d-old", events.num_rows), "enriched_time_ms": events.column(4)}
    for field in enriched_schema(repository_definitions()):
        if field.name not in events.schema.names:
            column = provenance.get(field.name, pa.nulls(events.num_rows, field.type))
            events = events.append_column(field.name, column)
    assert RUN_ID not in events.schema.names
    return events


async def _pins(ratings: list[tuple[str, str, float, int]]) -> InMemoryPinStore:
    store = InMemoryPinStore(InMemoryState(SYSTEM_CLOCK))
    names = sorted({pin for _, pin, _, _ in ratings})
    rows = [{"pin_id": name, "topics": ["drama", "comedy"], "price_micros": 0, "created_time_ms": 1} for name in names]
    await store.put(PinRows(pa.RecordBatch.from_pylist(rows, schema=PIN_SCHEMA), [1] * len(rows), [1] * len(rows)))
    return store


def main() -> int:
    """Exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.backfill", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with ml-100k.inter; synthetic ratings without it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    report = {"case": "backfill", **machine.describe(), **measure(options.data)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    lines = [f"{report['data']}", *(str(row) for row in report["rows"]), *(str(each) for each in report["gates"])]
    sys.stdout.write((json.dumps(report) if options.json else "\n".join(lines)) + "\n")
    return 0 if all(each["holds"] for each in report["gates"]) else 1


if __name__ == "__main__":
    sys.exit(main())
