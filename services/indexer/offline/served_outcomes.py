"""Shown pins, what was said of them and what happened: `python -m services.indexer.offline.served_outcomes --out FILE`.

Started by `corkboard evaluate reliability`. Of feeds whose time to be acted upon is over, with the attribution of
training and of the live metric. Prints one JSON object: {"result": …} or {"error": …}.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from chassis.config import load
from chassis.errors import CorkboardError, NotFound
from services.indexer.config import Config
from services.indexer.outbound.iceberg_outcomes import IcebergOutcomes
from services.indexer.ports import Outcomes
from services.indexer.wiring import iceberg_lake

MS_PER_S = 1_000


def write_shown(outcomes: Outcomes, path: Path, *, hours: float, window_s: float) -> dict[str, int]:
    """The last `hours` that have closed, as Parquet. Raises: NotFound when nothing was shown in them, Unavailable."""
    window_ms = round(window_s * MS_PER_S)
    until_ms = max(0, outcomes.known_until_ms() - window_ms)
    since_ms = max(0, until_ms - round(hours * 3_600 * MS_PER_S))
    rows = outcomes.between(since_ms, until_ms, window_ms)
    if not rows.num_rows:
        raise NotFound(
            f"no feed was served in the {hours:g} h that ended {window_s:g} s before the lake's newest event: "
            "a larger --hours or a smaller --window-s finds more",
            reason="nothing_shown",
        )
    pq.write_table(rows, path)
    return {"num_shown": rows.num_rows, "since_ms": since_ms, "until_ms": until_ms}


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the file is written; settings come from INDEXER_* like the service's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--hours", type=float, default=24.0, help="of feeds")
    parser.add_argument(
        "--window-s", type=float, help="time to act upon a pin; INDEXER_RELIABILITY_WINDOW_S by default"
    )
    options = parser.parse_args(argv)
    report: dict[str, Any]
    try:
        config = load(Config, "INDEXER_")
        window_s = options.window_s or config.reliability_window_s
        outcomes = IcebergOutcomes(iceberg_lake(config))
        report = {"result": write_shown(outcomes, options.out, hours=options.hours, window_s=window_s)}
    except CorkboardError as error:
        report = {"error": {"status": error.status, "message": error.message, "field": error.field}}
    sys.stdout.write(json.dumps(report) + "\n")
    return int("error" in report)


if __name__ == "__main__":
    sys.exit(main())
