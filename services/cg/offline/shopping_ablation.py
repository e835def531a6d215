"""What each part of the shopping tower is worth: the same training without it, judged by the same conversions.

Shapes: S seeds, Q questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from modeling.arrays import Ints
from modeling.evaluation import hits
from modeling.intervals import bootstrap_interval, paired_difference
from sequences.training_reader import ReadOptions
from services.cg.offline.shopping_batch import ShoppingBatch
from services.cg.offline.shopping_data import ShoppingData, split_by_time
from services.cg.offline.shopping_evaluation import (
    CUTS,
    Questions,
    counts_of_conversions,
    first_conversions,
    ranks,
    ranks_of_conversions,
)
from services.cg.offline.shopping_fitting import (
    REQUESTS_PER_BATCH,
    KeptBatches,
    Recipe,
    fit_on_batches,
    new_trainer,
    plan_for,
    rows_to_batch,
)
from services.cg.offline.shopping_rows import Period, RowChoice
from services.cg.offline.shopping_training import LossWeights

FULL, SEQUENTIAL = "full", "sequential cross"
POPULARITY, CLICKS_ONLY = "popularity of purchases", "clicks and saves only"
DATA_SEED = 0  # order in which rows are read once


@dataclass(frozen=True)
class Variant:
    """Changes of the full recipe."""

    choice: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, period: Period) -> Recipe:
        """What is trained on the period."""
        return Recipe(RowChoice(period, **self.choice), LossWeights(**self.weights), self.settings)


VARIANTS: Mapping[str, Variant] = {
    FULL: Variant(),
    SEQUENTIAL: Variant(settings={"is_sequential": True}),
    "no click durations": Variant(choice={"has_click_durations": False}),
    "no hard negatives": Variant(weights={"has_hard_negatives": False}),
    "no advertiser loss": Variant(weights={"advertiser": 0.0}),
    "no auxiliary task": Variant(choice={"has_engagement": False}, weights={"engagement": 0.0}),
    CLICKS_ONLY: Variant(weights={"conversion": 0.0, "engagement": 1.0}),
}


def ablate(
    data: ShoppingData,
    seeds: Sequence[int],
    num_epochs: int,
    variants: Sequence[str] = tuple(VARIANTS),
    fitted: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Conversion recall of each variant, and of the full one minus each, user by user."""
    learnt, test = split_by_time(data.dataset)
    questions = first_conversions(data, test, new_trainer(data, DATA_SEED).model.settings.max_history)
    kept: dict[RowChoice, list[ShoppingBatch]] = {}
    ranks_by_name: dict[str, Ints] = {}
    shares: dict[str, Any] = {}
    for name in variants:
        recipe, found = VARIANTS[name].recipe(learnt), []
        batches = kept.setdefault(recipe.choice, []) or _read(data, recipe, kept[recipe.choice])
        for seed in seeds:
            trainer = new_trainer(data, seed, recipe)
            plan = plan_for(seed, num_epochs)
            fit_on_batches(trainer, KeptBatches(batches, seed), len(batches), _as_it_is, plan)
            found.append(ranks_of_conversions(trainer, data, questions))
            shares[name] = {"before_mask": trainer.shares.before, "after_mask": trainer.shares.after}
            fitted(f"{name}, seed {seed}")
        ranks_by_name[name] = np.stack(found)
    ranks_by_name[POPULARITY] = _popularity(data, learnt, questions)
    return _report(data, ranks_by_name, list(seeds), num_epochs, shares)


def _as_it_is(batch: ShoppingBatch) -> ShoppingBatch:
    return batch


def _read(data: ShoppingData, recipe: Recipe, batches: list[ShoppingBatch]) -> list[ShoppingBatch]:
    to_batch = rows_to_batch(data, new_trainer(data, DATA_SEED, recipe), recipe.choice)
    batches += map(to_batch, data.dataset.training_rows(ReadOptions(REQUESTS_PER_BATCH, seed=DATA_SEED)))
    return batches


def _popularity(data: ShoppingData, learnt: Period, questions: Questions) -> Ints:
    count_A = counts_of_conversions(data, learnt)
    return ranks(np.broadcast_to(count_A, (len(questions.label_Q), len(count_A))), questions)[None]


def _report(
    data: ShoppingData, rank_by_name: Mapping[str, Ints], seeds: list[int], num_epochs: int, shares: Mapping[str, Any]
) -> dict[str, Any]:
    full_SQ = rank_by_name.get(FULL)
    rows: dict[str, Any] = {}
    for name, rank_SQ in rank_by_name.items():
        row: dict[str, Any] = {f"recall@{k}": asdict(bootstrap_interval(hits(rank_SQ, k))) for k in CUTS}
        row["recall@100_by_seed"] = [float(hits(rank_Q, 100).mean()) for rank_Q in rank_SQ]
        if name in shares:
            row["same_user_negative_share"] = shares[name]
        if full_SQ is not None and name != FULL:
            difference = paired_difference(hits(full_SQ, 100), hits(rank_SQ, 100).mean(axis=0))
            row["full_minus_this"] = asdict(difference)
        rows[name] = row
    return {
        "data": data.dataset.path.name,
        "num_ads": len(data.ads),
        "num_users": int(next(iter(rank_by_name.values())).shape[1]),
        "seeds": seeds,
        "num_epochs": num_epochs,
        "variants": rows,
    }
