"""`python -m bench [CASE…] [--json]`: figures of this machine, kept in bench/results/."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from bench import (
    backfill,
    dcat,
    diversity,
    engine,
    feed_faults,
    feed_latency,
    freshness,
    machine,
    online_store,
    overload,
    protection,
    rank,
    ranker_world,
    retrieval_index,
    retrieval_state,
    retrieve,
    slate,
    training_rows,
    two_tower_training,
)
from corkboard.local.home import Home
from corkboard.session import Endpoints
from e2e.house import House

RESULTS = Path(__file__).parent / "results"
OF_HOUSE = ("feed", "freshness", "feed_faults")
NUM_PINS = 20_000
ALONE = {
    "backfill": backfill.measure,
    "dcat": dcat.measure,
    "diversity": diversity.measure,
    "engine": engine.measure,
    "online_store": online_store.measure,
    "overload": overload.measure,
    "protection": protection.measure,
    "rank": rank.measure,
    "ranker_world": ranker_world.measure,
    "retrieval_index": retrieval_index.measure,
    "retrieval_index_large": retrieval_index.measure_large,
    "retrieval_state": retrieval_state.measure,
    "retrieve": retrieve.measure,
    "slate": slate.measure,
    "training_rows": training_rows.measure,
    "two_tower_training": two_tower_training.measure,
}
PORT_BASE = 23100


def main() -> int:
    """Run the cases, those of the whole against one house; exit 1 when a goal is missed."""
    cases = [*ALONE, *OF_HOUSE]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", default=cases, help=f"of: {', '.join(cases)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of the whole run of `feed`")
    parser.add_argument("--rate", type=float, default=10.0, help="feeds per second of `feed_faults`")
    parser.add_argument("--running", type=Path, help="measure the Corkboard that runs in this folder")
    arguments = parser.parse_args()
    reports = [run(case, ALONE[case]) for case in ALONE if case in arguments.cases]
    if wanted := [case for case in OF_HOUSE if case in arguments.cases]:
        with running_house() if arguments.running is None else nullcontext(_of(arguments.running)) as house:
            measures: dict[str, Callable[[], dict[str, Any]]] = {
                "feed": partial(feed_latency.measure, house, arguments.duration),
                "freshness": partial(freshness.measure, house),
                "feed_faults": partial(feed_faults.measure, house, arguments.rate),
            }
            reports += [run(case, partial(_in, house, measures[case])) for case in wanted]
    for report in reports:
        sys.stdout.write(json.dumps(report) + "\n" if arguments.json else _lines(report))
    return 0 if all(gate["holds"] for report in reports for gate in report["gates"]) else 1


def _of(folder: Path) -> House:
    """One that somebody started, filled and trained."""
    home = Home(folder)
    return House(folder, Endpoints.of_running(home).ports.base)


@contextmanager
def running_house() -> Iterator[House]:
    """With the demo's world and trained models."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), PORT_BASE)
        house.up()
        try:
            house.command("world", "--pins", str(NUM_PINS), "--json", timeout_s=600.0)
            house.command("train", "all", "--json", timeout_s=1200.0)
            yield house
        finally:
            house.down()


def run(case: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """One case, with the machine it ran on; also written to results/."""
    report = {"case": case, **machine.describe(), **measure()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{case}.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _in(house: House, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {**measure(), "resident_mb": house.resident_mb()}


def _lines(report: dict[str, Any]) -> str:
    rows = [
        f"  {'ok  ' if g['holds'] else 'MISS'} {g['name']}: {g['value']:g} (goal ≤ {g['goal']:g})"
        for g in report["gates"]
    ]
    return "\n".join([f"{report['case']}:", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
