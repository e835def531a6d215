"""Brings a range that was enriched again into this zone's store: `python -m services.indexer.offline.refresh …`.

Prints one JSON object per line: {"progress": …}, then {"result": …} or {"error": …} at the end.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from chassis.bundles import BundleStore
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from services.indexer.config import Config
from services.indexer.domain.routing import Routing
from services.indexer.offline.definitions_in_use import definitions_in_use
from services.indexer.offline.store_refresh import RefreshRange, StoreRefresh
from services.indexer.wiring import iceberg_lake, kafka_bus, redis_store

MS_PER_S = 1000
Say = Callable[[dict[str, Any]], None]


async def refresh(config: Config, asked: RefreshRange, say: Say) -> dict[str, Any]:
    """What was done, by name. Raises: Unavailable, Corrupt, NotFound."""
    definitions = await definitions_in_use(kafka_bus(config), BundleStore(config.bundles_uri))
    store = redis_store(config)
    job = StoreRefresh(store.sequences, iceberg_lake(config), Path(config.state_dir) / "refresh" / config.zone)
    try:
        done = await job.run(
            Routing(definitions),
            asked,
            lambda phase, number, total: say({"progress": {"phase": phase, "done": number, "total": total}}),
        )
    finally:
        if store.part is not None:
            await store.part.stop(Deadline.after(1.0))
    return {"zone": config.zone, "num_events": done.num_events, "num_users": done.num_users, **asdict(done.counts)}


def _range(options: argparse.Namespace) -> RefreshRange:
    after = options.last + timedelta(days=1)
    return RefreshRange(options.event_type, _start_ms(options.first), _start_ms(after))


def _start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * MS_PER_S


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the store says what the lake says of the range; settings come from INDEXER_* like the service's."""

    def say(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--event-type", required=True)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="last day, included, UTC")
    asked = _range(parser.parse_args(argv))
    try:
        say({"result": asyncio.run(refresh(load(Config, "INDEXER_"), asked, say))})
    except CorkboardError as error:
        say({"error": {"status": error.status, "message": error.message, "field": error.field}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
