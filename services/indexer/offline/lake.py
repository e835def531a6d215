"""Looks after the lake's tables by hand: `python -m services.indexer.offline.lake tables|compact|expire [TABLE]`.

Prints one JSON object: {"tables": […]} or {"error": {…}}.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chassis.clock import SYSTEM_CLOCK
from chassis.config import load
from chassis.errors import CorkboardError
from services.indexer.config import Config
from services.indexer.domain.lake_upkeep import UpkeepLimits
from services.indexer.outbound.iceberg_upkeep import IcebergUpkeep
from services.indexer.wiring import iceberg_lake

DEFAULTS = UpkeepLimits()


def look_after(upkeep: IcebergUpkeep, what: str, name: str, limits: UpkeepLimits, now_ms: int) -> list[dict[str, Any]]:
    """What was found or done, by table. Raises: NotFound, Conflict, Unavailable."""
    names = [name] if name else upkeep.names()
    if what == "tables":
        return [asdict(upkeep.facts(each, limits)) for each in names]
    if what == "compact":
        return [{"name": each, **asdict(upkeep.compact(each, limits))} for each in names]
    return [{"name": each, **asdict(upkeep.expire(each, limits, now_ms))} for each in names]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when it is done; settings come from INDEXER_* like the service's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("tables", "compact", "expire"))
    parser.add_argument("table", nargs="?", default="", help="one table; all by default")
    parser.add_argument("--min-files", type=int, default=DEFAULTS.min_files)
    parser.add_argument("--keep", type=int, default=DEFAULTS.keep_snapshots)
    parser.add_argument("--keep-s", type=float, default=DEFAULTS.keep_s)
    options = parser.parse_args(argv)
    limits = UpkeepLimits(min_files=options.min_files, keep_snapshots=options.keep, keep_s=options.keep_s)
    try:
        upkeep = IcebergUpkeep(iceberg_lake(load(Config, "INDEXER_")).catalog)
        report = {"tables": look_after(upkeep, options.what, options.table, limits, SYSTEM_CLOCK.now_ms())}
        exit_code = 0
    except CorkboardError as error:
        report, exit_code = {"error": {"status": error.status, "message": error.message, "field": error.field}}, 1  # type: ignore[dict-item]
    sys.stdout.write(json.dumps(report) + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
