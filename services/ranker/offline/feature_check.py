"""Online against offline: `python -m services.ranker.offline.feature_check --folder DIR`.

Started by `corkboard diagnose ranker` on the files of `services.indexer.offline.served_features`. Prints JSON objects:
{"progress": …} after each batch, {"result": …} or {"error": …} at the end.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from chassis.errors import CorkboardError
from services.ranker.offline.feature_comparison import Comparison
from services.ranker.offline.logged_rankings import Lake, LoggedRanking, read_files
from services.ranker.offline.training_view import training_views
from services.ranker.offline.visible_events import visible_events

RANKINGS_PER_BATCH = 32  # of 2,000 events with 64 numbers each: 16 MB
SETTLE_S = 60.0  # twice what a root remembers a pin, and far above what an event takes to be readable
Say = Callable[[dict[str, Any]], None]


def check_features(rankings: Sequence[LoggedRanking], lake: Lake, settle_ms: int, say: Say) -> dict[str, Any]:
    """Shares of values that differ, were defaulted or are missing, by feature, and which versions ranked."""
    comparison = Comparison(lake, settle_ms)
    for at in range(0, len(rankings), RANKINGS_PER_BATCH):
        batch = rankings[at : at + RANKINGS_PER_BATCH]
        visible = [visible_events(each, lake.past.get(each.user_id, ()), settle_ms) for each in batch]
        views = training_views(batch, [each.events for each in visible], lake)
        for ranking, seen, view in zip(batch, visible, views, strict=True):
            comparison.add(ranking, seen, view)
        say({"progress": {"phase": "comparing rankings", "done": at + len(batch), "total": len(rankings)}})
    return {"num_rankings": len(rankings), **comparison.report()}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the comparison was made, whatever it found."""
    parser = argparse.ArgumentParser(prog="services.ranker.offline.feature_check", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the files are")
    parser.add_argument(
        "--settle-s",
        type=float,
        default=SETTLE_S,
        help="events and pins enriched within so many seconds before a ranking may not have reached it",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def say(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    try:
        rankings, lake = read_files(options.folder)
        say({"result": check_features(rankings, lake, round(options.settle_s * 1_000), say)})
    except CorkboardError as error:
        say({"error": {"status": error.status, "message": error.message, "field": error.field}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
