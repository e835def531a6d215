"""`python -m services.ranker.offline.compare`: the ranker against its baselines, order and probabilities, over seeds.

Shapes: S seeds, U users, R requests, C candidates, H heads.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modeling.arrays import Doubles, Floats, Ints
from modeling.dataset_bundle import open_training_data
from modeling.intervals import bootstrap_interval, paired_difference
from modeling.training import Progress, TrainingPlan, seed_everything, silent
from modeling.training_data import TrainingData
from services.ranker.domain.features import NO_SCORE
from services.ranker.domain.history_ranker import RankerSettings
from services.ranker.offline.baselines import BASELINES, SasRec
from services.ranker.offline.evaluate import (
    AWAY,
    Pools,
    after_30_days,
    all_logits,
    held_out_examples,
    pools,
    ranks,
    utilities,
)
from services.ranker.offline.examples import Requests
from services.ranker.offline.fit_ranker import fit_model, histories_of, tensors_of
from services.ranker.offline.fitting import RequestTensors, fit
from services.ranker.offline.foresight import foresight_over, foresight_plan, learn_to_foresee
from services.ranker.offline.head_metrics import head_metrics
from services.ranker.offline.material import Material, prepare
from services.ranker.offline.movielens import MOVIELENS, movielens
from services.ranker.offline.plan import RankerPlan
from services.ranker.offline.retrieval_features import fit_retrieval
from services.ranker.offline.train import tell

OURS = "ranker"


def compare(data: TrainingData, plan: RankerPlan, seeds: Sequence[int], progress: Progress = silent) -> dict[str, Any]:
    """NDCG@10 on each user's last new pin with 95 % intervals, ours minus each other's, and the heads' metrics."""
    gain: dict[str, list[Doubles]] = {}
    heads: dict[str, list[Mapping[str, Mapping[str, float]]]] = {}
    for seed in seeds:
        material = prepare(data, replace(plan, seed=seed))
        found = pools(material.train, material.label_U, fit_retrieval(material.train))
        gain.setdefault("retrieval_order", []).append(_gain(found.column_U))
        gain.setdefault("ease_recency", []).append(_gain(ranks(found, _ease(found))))
        for name, model in models_of(material, replace(plan, seed=seed), progress):
            asked = {name: found.requests} | ({AWAY: after_30_days(found.requests)} if name == OURS else {})
            for row, candidates in asked.items():
                utility_UC = utilities(all_logits(model, candidates, tensors_for(material, candidates)))
                gain.setdefault(row, []).append(_gain(ranks(found, utility_UC)))
            requests = material.for_calibration
            examples = held_out_examples(model, requests, tensors_for(material, requests))
            heads.setdefault(name, []).append(head_metrics(examples))
    ours_SU = np.stack(gain[OURS])
    return {
        "data": data.name,
        "seeds": list(seeds),
        "num_users": ours_SU.shape[1],
        "ndcg@10": {name: asdict(bootstrap_interval(np.stack(rows))) for name, rows in gain.items()},
        "ours_minus": {
            name: asdict(paired_difference(ours_SU, np.stack(rows))) for name, rows in gain.items() if name != OURS
        },
        "heads": {name: _mean(rows) for name, rows in heads.items()},
    }


def models_of(material: Material, plan: RankerPlan, progress: Progress = silent) -> Iterator[tuple[str, nn.Module]]:
    """The ranker, then each baseline, trained on the same requests."""
    yield "ranker", fit_model(material, plan, progress)
    for name, make in BASELINES.items():
        seed_everything(plan.seed)
        model = make(material.pins.content_PW.shape[1])
        if isinstance(model, SasRec):
            foresight = foresight_over(material.parts.older, histories_of(material))
            learn_to_foresee(model, foresight, foresight_plan(plan.num_foresight_epochs, plan.seed), progress)
        training = TrainingPlan(plan.num_epochs, plan.batch_size, plan.learning_rate, seed=plan.seed)
        fit(model, material.used, tensors_for(material, material.used), training, progress)
        yield name, model


def tensors_for(material: Material, requests: Requests) -> RequestTensors:
    """What all of these models read."""
    return tensors_of(material, RankerSettings(content_width=material.pins.content_PW.shape[1]), requests)


def _ease(found: Pools) -> Floats:
    """The pool by EASE alone; what it did not return comes last, in the pool's order."""
    score_UC = found.requests.score_RCG[..., 0]
    last_C = NO_SCORE - np.arange(score_UC.shape[1], dtype=np.float32)
    return np.asarray(np.where(score_UC > NO_SCORE / 2, score_UC, last_C))


def _gain(rank_U: Ints) -> Doubles:
    """NDCG@10 of one label."""
    return np.where((rank_U >= 0) & (rank_U < 10), 1.0 / np.log2(np.maximum(rank_U, 0) + 2.0), 0.0)


def _mean(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Over seeds, of the heads that every seed could measure."""
    views = set.intersection(*(set(row) for row in rows))
    return {
        view: {metric: float(np.mean([row[view][metric] for row in rows])) for metric in rows[0][view]}
        for view in sorted(views)
    }


def as_lines(report: Mapping[str, Any]) -> str:
    """One line per model, then one per model and head."""
    lines = [f"{report['data']}: {report['num_users']} users, seeds {report['seeds']}; NDCG@10, and ours minus it"]
    for name, row in report["ndcg@10"].items():
        difference = report["ours_minus"].get(name)
        lines.append(f"{name:22s}{_interval(row)}" + (f"   {_interval(difference)}" if difference else ""))
    for name, views in report["heads"].items():
        for view, found in views.items():
            lines.append(f"{name:22s}{view:18s}" + "  ".join(f"{k} {value:.4f}" for k, value in found.items()))
    return "\n".join(lines)


def _interval(row: Mapping[str, float]) -> str:
    return f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train everything anew for each seed, print. Returns the exit status."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    epochs = options.num_epochs * (1 + len(BASELINES)) + 2 * options.num_foresight_epochs
    total = options.num_seeds * epochs
    progress = _steps(total) if options.steps else silent if options.json else tell
    data = open_training_data(Path(options.dataset)) if options.dataset else movielens(Path(options.movielens))
    plan = RankerPlan(
        max_requests=options.max_requests,
        num_foresight_epochs=options.num_foresight_epochs,
        num_epochs=options.num_epochs,
    )
    seeds = range(RankerPlan.seed, RankerPlan.seed + options.num_seeds)
    report = compare(data, plan, seeds, progress)
    sys.stdout.write((json.dumps(report) if options.json else as_lines(report)) + "\n")
    return 0


def _steps(total: int) -> Progress:
    """One line per epoch of any model."""
    done = itertools.count(1)

    def step(phase: str, epoch: int, loss: float) -> None:  # noqa: ARG001 - a bar has one number
        sys.stderr.write(json.dumps({"done": next(done), "total": total}) + "\n")
        sys.stderr.flush()

    return step


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.ranker.offline.compare", description=__doc__)
    parser.add_argument("--dataset", default="", help="directory of a dataset bundle")
    parser.add_argument("--movielens", default="", help=f"ml-100k.inter; its place in tests is ${MOVIELENS}")
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--max-requests", type=int, default=RankerPlan.max_requests)
    parser.add_argument("--num-foresight-epochs", type=int, default=RankerPlan.num_foresight_epochs)
    parser.add_argument("--num-epochs", type=int, default=RankerPlan.num_epochs)
    parser.add_argument("--steps", action="store_true", help="each epoch as a JSON line on stderr, for a bar")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    if not options.dataset and not Path(options.movielens).is_file():
        parser.error("give --dataset, or --movielens with the path of ml-100k.inter")
    return options


if __name__ == "__main__":
    sys.exit(main())
