"""Reprocesses history: `python -m services.indexer.offline.backfill --event-type save --from 2026-01-01 --to …`.

Prints one JSON object per line: {"progress": …} after each chunk, {"result": …} or {"error": …} at the end.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid
from sequences.definitions.definitions import Definitions
from services.indexer.app.backfill import Backfill, Done, Order, Progress
from services.indexer.config import Config
from services.indexer.offline.backfill_definitions import activated_ms, active, of_version
from services.indexer.offline.backfill_engine import BackfillEngine
from services.indexer.offline.backfill_ray import RayBackfillEngine
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_event_files import IcebergEventFiles
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinStore
from services.indexer.wiring import iceberg_lake, kafka_bus, redis_store

MS_PER_S = 1000
RuntimeName = Literal["local", "ray"]
ENGINES: dict[RuntimeName, type[BackfillEngine]] = {"local": BackfillEngine, "ray": RayBackfillEngine}
Say = Callable[[dict[str, Any]], None]


async def backfill(
    lake: IcebergLake,
    pins: PinStore,
    definitions: Definitions,
    order: Order,
    on_progress: Callable[[Progress], None],
    *,
    runtime: RuntimeName = "local",
    max_chunk_rows: int | None = None,
    gives_up_open: bool = False,
) -> Done:
    """One order from where it was left to its publication.

    Raises: Invalid for an unknown event type or range, NotFound without events, Conflict while another range of the
    type is open, Unavailable. Runtime ray: Invalid when it is not installed.
    """
    if order.event_type not in definitions.events:
        raise Invalid(
            f"definitions {definitions.version} have no event type {order.event_type!r}; "
            f"they have: {', '.join(sorted(definitions.events))}",
            field="event-type",
            reason="unknown_event_type",
        )
    engine = ENGINES[runtime](definitions, pins, SYSTEM_CLOCK)
    try:
        use_case = Backfill(
            IcebergEventFiles(lake.catalog), IcebergBackfills(lake.catalog), SYSTEM_CLOCK, max_chunk_rows
        )
        return await use_case(order, engine.schema, engine, on_progress, gives_up_open=gives_up_open)
    finally:
        engine.close()


async def _run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    config, started_s = load(Config, "INDEXER_"), time.monotonic()
    bundles, store = BundleStore(config.bundles_uri), redis_store(config)
    try:
        if options.definitions:
            definitions = of_version(bundles, options.definitions)
        else:
            definitions = await active(bundles, kafka_bus(config))
        order = Order(
            options.event_type,
            _start_ms(options.first),
            _start_ms(options.last + timedelta(days=1)),
            definitions.version,
            activated_ms(bundles),
        )
        done = await backfill(
            iceberg_lake(config),
            store.pins,
            definitions,
            order,
            lambda progress: say({"progress": _progress(order, progress)}),
            runtime=options.runtime,
            max_chunk_rows=options.max_chunk_rows,
            gives_up_open=options.restart,
        )
    finally:
        if store.part is not None:
            await store.part.stop(Deadline.after(1.0))
    return _report(done, time.monotonic() - started_s)


def _progress(order: Order, progress: Progress) -> dict[str, Any]:
    return {"phase": f"backfill {order.event_type}", "total": progress.num_total, "done": progress.num_done}


def _report(done: Done, duration_s: float) -> dict[str, Any]:
    return {
        **asdict(done.run),
        "is_resumed": done.is_resumed,
        "watermark_ms": done.watermark_ms,
        "watermark": datetime.fromtimestamp(done.watermark_ms / MS_PER_S, UTC).isoformat(timespec="milliseconds"),
        "failures": dict(sorted(done.failures.items())),
        "duration_s": round(duration_s, 2),
    }


def _start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * MS_PER_S


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--event-type", required=True)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="last day, included, UTC")
    parser.add_argument("--definitions", default="", help="version to run under; the active ones by default")
    parser.add_argument("--runtime", choices=tuple(ENGINES), default="local")
    parser.add_argument("--max-chunk-rows", type=int, help="rows between two commits: what a kill may cost")
    parser.add_argument("--restart", action="store_true", help="give up an unfinished backfill of the type")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the range is published; settings come from INDEXER_* like the service's."""

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
