"""The three guards on a small seeded world, each shown to catch the fault it is there for."""

import pytest
import torch

from modeling.training import TrainingPlan
from services.cg.offline.context_guards import ContextRecall, recall_by_context, related_requests
from services.cg.offline.contextual_fitting import Extras, fit_contextual
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.tests.contextual_world import SETTINGS, held_out

PLAN = TrainingPlan(16, 32, learning_rate=5e-3, weight_decay=0.01, seed=3)
K = 20
pytestmark = pytest.mark.timeout(180)  # three trainings of a few seconds; busy machines take far longer


def _trained(context_dropout: float) -> ContextualTrainer:
    torch.set_num_threads(1)
    train, _, pins = held_out()
    return fit_contextual(train, pins, PLAN, Extras(settings={**SETTINGS, "context_dropout": context_dropout}))


def _recall(trainer: ContextualTrainer) -> ContextRecall:
    train, label_U, pins = held_out()
    return recall_by_context(trainer, train, related_requests(train, label_U, pins, seed=5), K, seed=6)


@pytest.fixture(scope="module")
def contextual() -> ContextualTrainer:
    return _trained(0.5)


@pytest.fixture(scope="module")
def history_only() -> ContextRecall:
    return _recall(_trained(1.0))


def test_context_helps_and_its_absence_costs_little(contextual: ContextualTrainer, history_only: ContextRecall) -> None:
    found = _recall(contextual)
    assert found.true > found.removed > found.shuffled, "the true context beats both, a wrong one misleads"
    assert found.true >= 2.0 * history_only.removed
    assert found.removed >= 0.9 * history_only.removed, "the head does not live on the label's interests"


def test_the_history_only_tower_is_caught_by_the_first_guard(history_only: ContextRecall) -> None:
    assert history_only.true <= 1.5 * history_only.removed, "its context was never learnt"


def test_without_dropout_the_second_guard_sees_that_the_label_leaked(history_only: ContextRecall) -> None:
    leaked = _recall(_trained(0.0))
    assert leaked.removed < 0.9 * history_only.removed


def test_same_user_negatives_are_counted_and_masked(contextual: ContextualTrainer) -> None:
    assert contextual.shares.num_batches > 0
    assert 0.005 < contextual.shares.before < 0.2
    assert contextual.shares.after == 0.0
