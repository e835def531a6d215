"""Writes the tables that batch owns: `python -m services.indexer.offline.fill_lake training_rows --from D --to D`.

Prints one JSON object per line: {"progress": …} after each day, {"result": …} or {"error": …} at the end.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from chassis.bundles import BundleStore
from chassis.config import load
from chassis.errors import CorkboardError, Invalid
from sequences.definitions.definitions import Definitions
from services.indexer.app.merged_events import merged_events
from services.indexer.config import Config
from services.indexer.offline.catch_up import wait_for_lake
from services.indexer.offline.dataset_rows import labelled_candidates
from services.indexer.offline.day_files import SEQUENCES_TABLE, TRAINING_TABLE, write_sequences, write_training_rows
from services.indexer.offline.definitions_in_use import definitions_in_use
from services.indexer.offline.sequence_events import SequenceEvents, sequence_events
from services.indexer.offline.training_requests import training_requests
from services.indexer.outbound.duckdb_labels import LABEL_BY_TYPE, unique_events, with_columns
from services.indexer.outbound.iceberg_days import DayTable, IcebergDays, Write
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.wiring import iceberg_lake, kafka_bus

DEFAULT_WINDOW_H = 24.0  # most actions on a served pin follow within a day
MAX_DAYS = 3_660
MS_PER_H = 3_600_000
LABEL_COLUMNS = ("user_id", "event_id", "event_type", "event_time_ms", "pin_id", "request_id")
Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Order:
    """Which days, both included (UTC), of which sequence; a label follows within the window."""

    first: date
    last: date
    sequence: str = "engagement"
    window_h: float = DEFAULT_WINDOW_H

    def days(self) -> list[date]:
        """Raises: Invalid when there are none, or too many."""
        count = (self.last - self.first).days + 1
        if not 0 < count <= MAX_DAYS:
            raise Invalid(f"{self.first} to {self.last} is not between 1 and {MAX_DAYS} days", field="to")
        return [self.first + timedelta(days=number) for number in range(count)]


def fill(lake: IcebergLake, definitions: Definitions, table: str, order: Order, say: Say) -> dict[str, Any]:
    """Replace each day whose content is another; the same order twice commits nothing the second time. Blocks.

    Raises: Invalid, NotFound, Conflict while another process fills the same table, Unavailable.
    """
    days, kind = order.days(), TABLES[table]
    events = sequence_events(lake, definitions, order.sequence)
    counts = {"num_days": len(days), "num_changed_days": 0, "num_rows": 0}
    tables = IcebergDays(lake.catalog)
    for number, (day, write) in enumerate(WRITERS[table](lake, events, order), 1):
        written, is_changed = tables.replace(kind, day, write)
        counts["num_changed_days"] += is_changed
        counts["num_rows"] += written.num_rows
        say({"progress": {"phase": table, "done": number, "total": len(days), **counts}})
    return {"table": table, "sequence": order.sequence, "definitions_version": definitions.version, **counts}


def _training_days(lake: IcebergLake, events: SequenceEvents, order: Order) -> Iterator[tuple[date, Write]]:
    window_ms = int(order.window_h * MS_PER_H)
    found = merged_events(lake, LABEL_COLUMNS, list(LABEL_BY_TYPE))
    actions = unique_events(found) if found.num_columns else with_columns(found)
    for day in order.days():
        served = lake.served_on(day)
        rows = labelled_candidates(served, actions, window_ms) if served.num_rows else served
        yield day, write_training_rows(partial(training_requests, rows, events))


def _sequence_days(_: IcebergLake, events: SequenceEvents, order: Order) -> Iterator[tuple[date, Write]]:
    for day in order.days():
        yield day, write_sequences(events, order.sequence, day)


TABLES: Mapping[str, DayTable] = {"training_rows": TRAINING_TABLE, "sequences": SEQUENCES_TABLE}
WRITERS: Mapping[str, Callable[[IcebergLake, SequenceEvents, Order], Iterator[tuple[date, Write]]]] = {
    "training_rows": _training_days,
    "sequences": _sequence_days,
}


async def _run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    config = load(Config, "INDEXER_")
    lake, bus = iceberg_lake(config), kafka_bus(config)
    await wait_for_lake(lake, bus, options.lake_within_s)
    definitions = await definitions_in_use(bus, BundleStore(config.bundles_uri))
    order = Order(options.first, options.last, options.sequence, options.attribution_window_h)
    return await asyncio.to_thread(fill, lake, definitions, options.table, order, say)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="last day, included, UTC")
    parser.add_argument("--sequence", default="engagement", help="of the definitions in use")
    parser.add_argument("--attribution-window-h", type=float, default=DEFAULT_WINDOW_H)
    parser.add_argument("--lake-within-s", type=float, default=120.0, help="wait for what Kafka has; 0 = do not")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every day is as ordered; settings come from INDEXER_* like the service's."""

    def say(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    options, exit_code = _parser().parse_args(argv), 1
    try:
        say({"result": asyncio.run(_run(options, say))})
        exit_code = 0
    except* CorkboardError as group:
        error = _first(group)
        say({"error": {"status": error.status, "message": error.message, "field": error.field}})
    return exit_code


def _first(group: BaseExceptionGroup[CorkboardError]) -> CorkboardError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, CorkboardError)  # noqa: S101 - what `except*` selected
    return found


if __name__ == "__main__":
    sys.exit(main())
