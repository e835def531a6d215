"""`python -m services.cg.offline.evaluate`: every generator against the baselines on each person's last new pin."""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chassis.errors import Invalid
from modeling.dataset_bundle import open_training_data
from modeling.interactions import History, collect, leave_last_out
from modeling.training import Progress, silent
from modeling.training_data import PinTable, TrainingData
from services.cg.offline.comparison import CUTS, LEARNT, MERGED, NUM_CANDIDATES, Question, compare
from services.cg.offline.contextual_guards_report import guards_report
from services.cg.offline.pin_inputs import pin_features
from services.cg.offline.train import tell
from services.cg.offline.version_skew import FITS_PER_SEED, skew_report

MOVIELENS = "CORKBOARD_MOVIELENS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, rank, print one table. Returns the exit status."""
    options = _parse(arguments)
    torch.set_num_threads(options.num_threads)
    data = movielens(Path(options.movielens)) if not options.dataset else open_training_data(Path(options.dataset))
    question = held_out(data)
    report = {"data": data.name, **_measure(question, options)}
    sys.stdout.write((json.dumps(report) if options.json else as_lines(report)) + "\n")
    return 0


def _measure(question: Question, options: argparse.Namespace) -> dict[str, Any]:
    progress: Progress = silent if options.json or options.steps else tell
    seeds = range(options.first_seed, options.first_seed + options.num_seeds)
    if options.version_skew:
        fitted = _steps(len(seeds) * FITS_PER_SEED) if options.steps else _nobody
        return {"version_skew": skew_report(question, seeds, progress, fitted)}
    fitted = _steps(1 + len(options.models) * len(seeds)) if options.steps else _nobody
    report = compare(question, seeds, options.models, progress, fitted)
    if options.context:
        report["context"] = guards_report(question, seeds, progress)
    return report


def _steps(total: int) -> Callable[[str], None]:
    """For a program that draws a bar: one line of JSON on stderr per model that is ready."""
    done = 0

    def fitted(what: str) -> None:
        nonlocal done
        done += 1
        sys.stderr.write(json.dumps({"done": done, "total": total, "what": what}) + "\n")
        sys.stderr.flush()

    return fitted


def _nobody(what: str) -> None:
    """Who is not asked for steps hears of none."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.cg.offline.evaluate", description=__doc__)
    parser.add_argument("--dataset", default="", help="directory of a dataset bundle")
    parser.add_argument(
        "--movielens", default=os.environ.get(MOVIELENS, ""), help=f"ml-100k.inter, by default ${MOVIELENS}"
    )
    parser.add_argument(
        "--models", nargs="*", choices=LEARNT, default=LEARNT, help="learnt models beside the baselines"
    )
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=17)
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--context", action="store_true", help="also recall with true, shuffled and removed contexts")
    parser.add_argument(
        "--version-skew", action="store_true", help="instead: recall with an index, or states, older than the queries"
    )
    parser.add_argument("--steps", action="store_true", help="progress on stderr as one JSON object per line")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    if not options.dataset and not Path(options.movielens).is_file():
        parser.error(f"give --dataset, or --movielens (or ${MOVIELENS}) with the path of ml-100k.inter")
    return options


def held_out(data: TrainingData) -> Question:
    """Everybody's last new pin is the label. Raises: Invalid when nobody has one."""
    events = collect(data.histories, data.pins.pin_ids)
    train, label_U = leave_last_out(events)
    if not (label_U >= 0).any():
        raise Invalid(f"data set {data.name} has nobody with two new pins: nothing can be held out", field="dataset")
    return Question(train, label_U, pin_features(data.pins.extended(events.pin_ids)))


def movielens(path: Path) -> TrainingData:
    """MovieLens-100K by ids alone; ratings of the same second are ordered by item id."""
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in path.read_text().splitlines()[1:]:
        user, item, _, time_s = line.split("\t")
        rows[int(user)].append((int(float(time_s)), int(item)))
    histories = tuple(_history(user, sorted(events)) for user, events in sorted(rows.items()))
    none = np.zeros(0, dtype=np.int64)
    return TrainingData("MovieLens-100K", histories, PinTable((), np.zeros((0, 1), np.float32), (), none, none), None)


def _history(user: int, events: Sequence[tuple[int, int]]) -> History:
    pin_ids = [f"ml-pin-{item}" for _, item in events]
    times_ms = [time_s * 1_000 for time_s, _ in events]
    return History(f"ml-user-{user}", pin_ids, ["rating"] * len(events), times_ms)


def as_lines(report: Mapping[str, Any]) -> str:
    """The tables of models by surface, then the differences, then the context; or the table of versions."""
    if "version_skew" in report:
        return "\n".join([report["data"], *_skew_lines(report["version_skew"])])
    lines = [f"{report['data']}: {report['num_users']} users, {report['num_pins']} pins, seeds {report['seeds']}"]
    lines += _table("home", report["models"])
    if "related" in report:
        lines += _table(f"related, {report['related']['num_requests']} requests", report["related"]["models"])
    for peer, row in report.get("contextual_minus", {}).items():
        lines.append(f"{f'contextual − {peer}':26s}" + "  ".join(f"{k} {_interval(v)}" for k, v in row.items()))
    if MERGED in report["models"]:
        lines.append(f"{MERGED}: recall at {NUM_CANDIDATES} candidates of the merged list")
    lines += [f"{name}: {value:.4f}" for name, value in report.get("context", {}).items()]
    return "\n".join(lines)


def _table(title: str, models: Mapping[str, Any]) -> list[str]:
    cuts = (*CUTS, NUM_CANDIDATES)
    lines = [f"{title:20s}" + "".join(f"{f'recall@{k}':>24s}" for k in cuts) + f"{'ndcg@10':>10s}"]
    for name, row in models.items():
        cells = "".join(f"{_interval(row[f'recall@{k}']):>24s}" for k in cuts)
        lines.append(f"{name:20s}{cells}{row['ndcg@10']:10.4f}")
    return lines


def _skew_lines(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for regime, rows in report["index_version"].items():
        lines += [f"queries of v, {regime}: index of {name:4s}{_recalls(row)}" for name, row in rows.items()]
    rows = report["state_behind_events"]
    return lines + [f"state {events} events behind{_recalls(row)}" for events, row in rows.items()]


def _recalls(row: Mapping[str, Any]) -> str:
    return "".join(f"  {name} {_interval(value)}" for name, value in row.items())


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
