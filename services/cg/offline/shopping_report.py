"""`python -m services.cg.offline.shopping_report`: conversion recall with, and without, each part of the tower."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sequences.dataset import Dataset
from services.cg.offline.shopping_ablation import FULL, VARIANTS, ablate
from services.cg.offline.shopping_data import open_shopping_data
from services.cg.offline.shopping_fitting import NUM_EPOCHS

BAR_WIDTH = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Train every variant with every seed, write JSON if asked, print a table. Returns the exit status."""
    options = _parse(arguments)
    torch.set_num_threads(options.num_threads)
    data = open_shopping_data(Dataset.open(options.dataset))
    seeds = range(options.first_seed, options.first_seed + options.num_seeds)
    with _bar(len(options.variants) * len(seeds), is_shown=not options.json and sys.stderr.isatty()) as fitted:
        report = ablate(data, seeds, options.num_epochs, options.variants, fitted)
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write((json.dumps(report) if options.json else as_markdown(report)) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.cg.offline.shopping_report", description=__doc__)
    parser.add_argument("--dataset", required=True, help="directory of a dataset bundle with ads")
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=17)
    parser.add_argument("--num-epochs", type=int, default=NUM_EPOCHS)
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--out", default="", help="also write the report as JSON to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args(arguments)


def as_markdown(report: Mapping[str, Any]) -> str:
    """One row per variant."""
    lines = [
        f"| {report['num_ads']:,} ads, {report['num_users']} people, {len(report['seeds'])} seeds "
        "| recall@10 | recall@100 | full minus this, recall@100 |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in report["variants"].items():
        difference = _interval(row["full_minus_this"]) if name != FULL and "full_minus_this" in row else ""
        lines.append(f"| {name} | {_interval(row['recall@10'])} | {_interval(row['recall@100'])} | {difference} |")
    return "\n".join(lines)


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


@contextmanager
def _bar(total: int, *, is_shown: bool) -> Iterator[Callable[[str], None]]:
    """A line on stderr that is drawn anew; services do not depend on the command line's libraries."""
    done = 0

    def fitted(what: str) -> None:
        nonlocal done
        done += 1
        if is_shown:
            filled = BAR_WIDTH * done // total
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total} {what:40s}")
            sys.stderr.flush()

    if is_shown:
        sys.stderr.write(f"\r[{'.' * BAR_WIDTH}] 0/{total}")
    yield fitted
    if is_shown:
        sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main())
