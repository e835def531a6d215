"""How much people of the seeded world like the ten pins that each model ranks first, and what calibration is worth.

The world knows how much each person likes each pin, which no model is told: chance, retrieval's order, the baselines
and the ranker are measured against it, on the pools that would be ranked after each person's last event but one.
Calibration needs more people: with few, chance alone makes a larger error than the model does.
Shapes: U people, C candidates.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corkboard.world.dataset import write_dataset
from corkboard.world.truth import WorldSize, make_truth
from modeling.arrays import Doubles
from modeling.dataset_bundle import open_training_data
from modeling.training_data import TrainingData
from services.ranker.offline.compare import models_of, tensors_for
from services.ranker.offline.evaluate import Pools, all_logits, pools, utilities
from services.ranker.offline.examples import PADDING
from services.ranker.offline.fit_ranker import calibrate_model, fit_model
from services.ranker.offline.material import Material, prepare
from services.ranker.offline.plan import RankerPlan
from services.ranker.offline.retrieval_features import fit_retrieval

SIZE, CALIBRATED_SIZE = WorldSize(num_people=2_000), WorldSize(num_people=8_000)
FORESIGHT_EPOCHS_OF_MORE = 5  # as many steps as with a quarter of the people
SEEDS = (17, 18, 19)
TOP = 10


def measure() -> dict[str, Any]:
    """Mean over seeds of each model, and the calibration errors of one ranker."""
    torch.set_num_threads(1)
    liking: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = _world(SIZE, Path(folder) / "world")
        for seed in SEEDS:
            plan = replace(RankerPlan(), seed=seed)
            for name, value in _each(prepare(data, plan), plan):
                liking.setdefault(name, []).append(value)
        errors = _calibration(_world(CALIBRATED_SIZE, Path(folder) / "larger"))
    means = {name: round(float(np.mean(values)), 4) for name, values in liking.items()}
    before, after, honest = (
        sum(found[key] for found in errors.values()) for key in ("error_before", "error_after", "error_honest")
    )
    best_peer = max(means[name] for name in means if name not in ("ranker", "best_possible"))
    return {
        "num_people": SIZE.num_people,
        "seeds": list(SEEDS),
        "liking_of_top_10": means,
        "num_people_calibrated": CALIBRATED_SIZE.num_people,
        "calibration_error": errors,
        "gates": [
            {"name": "liking, retrieval order / ranker", **_at_most(means["retrieval_order"] / means["ranker"], 0.8)},
            {"name": "liking, best other / ranker", **_at_most(best_peer / means["ranker"], 1.0)},
            {"name": "calibration error, sum over heads, after / before", **_at_most(after / before, 0.3)},
            {"name": "calibration error, after / of right probabilities", **_at_most(after / honest, 1.5)},
        ],
    }


def _world(size: WorldSize, folder: Path) -> TrainingData:
    write_dataset(size, folder)
    return open_training_data(folder)


def _calibration(data: TrainingData) -> dict[str, dict[str, float]]:
    """By head, of one ranker; over all surfaces, as the world's past has one."""
    plan = replace(RankerPlan(), num_foresight_epochs=FORESIGHT_EPOCHS_OF_MORE)
    material = prepare(data, plan)
    errors = calibrate_model(fit_model(material, plan), material).errors
    return {
        head: {column: round(value, 5) for column, value in found.items()}
        for head, found in errors.items()
        if "/" not in head
    }


def _at_most(value: float, goal: float) -> dict[str, object]:
    return {"value": round(value, 3), "goal": goal, "holds": bool(value <= goal)}


def _each(material: Material, plan: RankerPlan) -> Iterator[tuple[str, float]]:
    """Name of an order and how much people like its first pins."""
    found = pools(material.train, material.label_U, fit_retrieval(material.train))
    liking_UC = _liking(material, found)
    num_candidates = liking_UC.shape[1]
    yield "chance", float(np.nanmean(liking_UC))
    yield "retrieval_order", _of_top(liking_UC, np.broadcast_to(-np.arange(num_candidates), liking_UC.shape))
    yield "best_possible", _of_top(liking_UC, liking_UC)
    for name, model in models_of(material, plan):
        logits = all_logits(model, found.requests, tensors_for(material, found.requests))
        yield name, _of_top(liking_UC, utilities(logits))


def _liking(material: Material, found: Pools) -> Doubles:
    """How much each person likes each candidate [U, C]; NaN where there is none."""
    truth, requests = make_truth(SIZE), found.requests
    pin_P = np.asarray([int(pin_id.split("-")[1]) for pin_id in material.train.pin_ids])
    liking_UC = np.full(requests.pin_RC.shape, np.nan)
    for row, user in enumerate(requests.user_R):
        is_real_C = requests.pin_RC[row] != PADDING
        person = int(material.train.user_ids[user].split("-")[1])
        liking_UC[row, is_real_C] = truth.affinity(person, pin_P[requests.pin_RC[row, is_real_C]])
    return liking_UC


def _of_top(liking_UC: Doubles, score_UC: Doubles) -> float:
    """Mean liking of the candidates with the highest scores."""
    open_UC = np.where(np.isnan(liking_UC), -np.inf, score_UC)
    best_UK = np.argsort(-open_UC, axis=1, kind="stable")[:, :TOP]
    return float(np.nanmean(np.take_along_axis(liking_UC, best_UK, axis=1)))
