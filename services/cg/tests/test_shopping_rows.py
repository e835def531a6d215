"""Training rows as batches, and a training that is killed, stopped early and judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling.checkpoint import Checkpoint
from modeling.click_duration import click_weights
from sequences.dataset import Dataset
from sequences.training_reader import ReadOptions
from services.cg.offline.shopping_data import ShoppingData, open_shopping_data, split_by_time
from services.cg.offline.shopping_evaluation import first_conversions, ranks_of_conversions
from services.cg.offline.shopping_fitting import Recipe, Watch, fit_shopping, plan_for, rows_to_batch
from services.cg.offline.shopping_rows import CLICK_FLOOR, FULL_CLICK_S, RowChoice, RowsToShoppingBatch
from services.cg.offline.training_runtime import HERE
from services.cg.tests.shopping_world import NUM_ADS, SETTINGS, write_dataset

PLAN = replace(plan_for(3, num_epochs=4), batch_size=64, learning_rate=5e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ShoppingData:
    torch.set_num_threads(1)
    return open_shopping_data(Dataset.open(write_dataset(tmp_path_factory.mktemp("shopping") / "dataset-shop")))


def test_batches_equal_a_loop_over_candidates(data: ShoppingData) -> None:
    (rows,) = data.dataset.training_rows(ReadOptions(10_000))
    batch = RowsToShoppingBatch(data.inventory, data.durations, 16, RowChoice(negatives_per_request=99))(rows)
    found, expected, left = [], [], []
    for place, conversion, engagement in zip(
        batch.target_B.tolist(), batch.conversion_B.tolist(), batch.engagement_B.tolist(), strict=True
    ):
        found.append((place, conversion, engagement > 0))
    for candidate in rows.candidate_features.to_pylist():
        pin = int(candidate["pin_id"][-3:])
        if pin < NUM_ADS and (candidate["clicked"] or candidate["converted"]):
            expected.append((pin, float(candidate["converted"]), candidate["clicked"]))
        elif pin < NUM_ADS:
            left.append(pin)
    assert found == expected and len(expected) > 500
    assert batch.negative_N.tolist() == left
    assert len(batch.pin_RL) < rows.num_requests + 1 and len(batch.user_id_B) == len(expected)


def test_engagement_weighs_by_click_duration_and_a_missing_one_as_the_median(data: ShoppingData) -> None:
    (rows,) = data.dataset.training_rows(ReadOptions(10_000))
    batch = RowsToShoppingBatch(data.inventory, data.durations, 16)(rows)
    known = np.asarray([2.0, 20.0, data.durations.median_s], np.float32)
    allowed = set(click_weights(known, FULL_CLICK_S, CLICK_FLOOR).round(5).tolist())
    assert set(batch.engagement_B.numpy().round(5).tolist()) == allowed, "a short, a long and a missing one"
    plain = RowsToShoppingBatch(data.inventory, data.durations, 16, RowChoice(has_click_durations=False))(rows)
    assert set(plain.engagement_B.tolist()) <= {0.0, 1.0}
    nobody = data.durations.of(["nobody"], ["pin-000"], [0])
    assert nobody[0] == pytest.approx(data.durations.median_s)


def test_a_period_and_a_missing_task_leave_rows_out(data: ShoppingData) -> None:
    learnt, test = split_by_time(data.dataset)
    (rows,) = data.dataset.training_rows(ReadOptions(10_000))

    def num_positives(choice: RowChoice) -> int:
        return len(RowsToShoppingBatch(data.inventory, data.durations, 16, choice)(rows).target_B)

    before, after, everything = (num_positives(RowChoice(each)) for each in (learnt, test, RowChoice().period))
    assert 0 < after < before and before + after == everything
    assert num_positives(RowChoice(has_engagement=False)) < everything


def test_purchases_are_foreseen_where_clicks_mislead(data: ShoppingData) -> None:
    learnt, test = split_by_time(data.dataset)
    recipe = Recipe(RowChoice(learnt), settings=SETTINGS)
    trainer = fit_shopping(data, replace(PLAN, num_epochs=6), recipe)
    questions = first_conversions(data, test, SETTINGS["max_history"])
    found = ranks_of_conversions(trainer, data, questions)
    assert len(found) > 40
    score_QA = trainer.user_vectors(questions.pin_QL, questions.type_QL) @ trainer.item_vectors(data.ads).T
    best = data.ads[np.argsort(-score_QA, axis=1)[:, :20]]
    needed = questions.label_Q % 2  # of ads, which come first, the number is the place
    assert (best % 2 == needed[:, None]).mean() > 0.9
    assert trainer.shares.after == 0.0 < trainer.shares.before


class Killed(Exception):
    """Stands for a process that is gone."""


def test_a_killed_training_ends_with_the_same_weights(data: ShoppingData, tmp_path: Path) -> None:
    recipe = Recipe(settings=SETTINGS)
    whole = fit_shopping(data, PLAN, recipe)
    watch = Watch(checkpoint=Checkpoint(tmp_path / "shopping.pt", every_steps=3))

    def killed(done: int, _: int) -> None:
        if done == 17:
            raise Killed

    with pytest.raises(Killed):
        fit_shopping(data, PLAN, recipe, watch, replace(HERE, stepped=killed))
    assert (tmp_path / "shopping.pt").exists()
    seen: list[int] = []
    again = fit_shopping(data, PLAN, recipe, watch, replace(HERE, stepped=lambda done, _: seen.append(done)))
    assert seen[0] == 16, "goes on behind the last checkpoint, not from the start"
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert again.shares == whole.shares and not (tmp_path / "shopping.pt").exists()


def test_a_training_that_no_longer_gets_better_ends_early(data: ShoppingData) -> None:
    scores = iter([1.0, 3.0, 2.0, 2.0, 9.0])
    seen: list[float] = []

    def validate(_: object) -> float:
        seen.append(next(scores))
        return seen[-1]

    plan = replace(PLAN, num_epochs=5, patience=2)
    fit_shopping(data, plan, Recipe(settings=SETTINGS), Watch(validate=validate))
    assert seen == [1.0, 3.0, 2.0, 2.0]


def test_reading_again_gives_the_same_batches(data: ShoppingData) -> None:
    trainer = fit_shopping(data, replace(PLAN, num_epochs=1), Recipe(settings=SETTINGS))
    to_batch = rows_to_batch(data, trainer, RowChoice())
    first, second = (
        [to_batch(rows).target_B.tolist() for rows in data.dataset.training_rows(ReadOptions(64, seed=1))]
        for _ in range(2)
    )
    assert first == second
