"""Fits the generators that learn, evaluating them on held-out events first: popular, co_engaged and the two towers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling.arrays import Floats, Ints
from modeling.checkpoint import Checkpoint
from modeling.history_window import windows_at_end
from modeling.interactions import Interactions, collect, leave_last_out
from modeling.item_to_item import fit_ease
from modeling.popularity import decayed_counts
from modeling.training import Progress, TrainingPlan, silent
from modeling.training_data import TrainingData
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline import contextual_fitting
from services.cg.offline.contextual_fitting import Extras, fit_contextual, plan_for
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.pin_inputs import pin_features
from services.cg.offline.ranking import Metrics, evaluate, evaluate_baselines, history_scorer, popularity_scorer
from services.cg.offline.related_fitting import evaluate_related, fit_related
from services.cg.offline.two_tower_training import BATCH_SIZE, TwoTowerTrainer, fit, plain_plan
from services.cg.outbound.bundle_model_files import co_engaged_files, contextual_files, popular_files, two_tower_files

FINISH_LEARNING_RATE = 1e-3  # the last pass, which adds the held-out events to an evaluated model
FINISH_EPOCHS = 2


@dataclass(frozen=True)
class Fitted:
    """Bundles ready to be written; every user's vector by the plain tower and hidden state by the contextual one."""

    files_by_name: Mapping[str, Mapping[str, bytes]]
    evaluation: Mapping[str, Metrics]
    user_ids: tuple[str, ...]
    user_UV: Floats
    hidden_UD: Floats


@dataclass(frozen=True)
class Job:
    """How to fit: the seed, whether the last events are held out first, where checkpoints are kept."""

    seed: int
    is_evaluated: bool = True
    checkpoints: Path | None = None
    progress: Progress = silent

    def checkpoint(self, phase: str) -> Checkpoint | None:
        """A file per phase."""
        return Checkpoint(self.checkpoints / f"{phase}.pt") if self.checkpoints else None


@dataclass(frozen=True)
class _Towers:
    plain: TwoTowerTrainer
    contextual: ContextualTrainer


def fit_all(data: TrainingData, job: Job) -> Fitted:
    """Everything from one dataset. With the same data and seed the result is the same."""
    events = collect(data.histories, data.pins.pin_ids)
    pins = pin_features(data.pins.extended(events.pin_ids))
    train, label_U = leave_last_out(events)
    if job.is_evaluated and (label_U >= 0).any():
        towers = _fit_towers(train, pins, job)
        evaluation = _evaluation(train, pins, label_U, towers)
        towers = _finish_towers(events, pins, towers, job)
    else:
        towers, evaluation = _fit_towers(events, pins, job), {}
    window = windows_at_end(events, towers.contextual.model.settings.max_history)
    return Fitted(
        _files(events, pins, towers, evaluation),
        evaluation,
        events.user_ids,
        towers.plain.vectors()[0],
        towers.contextual.hidden(window),
    )


def _fit_towers(events: Interactions, pins: PinFeatures, job: Job) -> _Towers:
    plan = plain_plan(int(events.is_new.sum()), job.seed)
    _, plain = fit(events, pins, plan, progress=job.progress)
    extras = Extras(progress=job.progress, checkpoint=job.checkpoint(contextual_fitting.PHASE))
    return _Towers(plain, fit_contextual(events, pins, plan_for(events, job.seed), extras))


def _finish_towers(events: Interactions, pins: PinFeatures, towers: _Towers, job: Job) -> _Towers:
    """The evaluated models learn from the held-out events as well."""
    plan = TrainingPlan(1, BATCH_SIZE, FINISH_LEARNING_RATE, seed=job.seed)
    _, plain = fit(events, pins, plan, progress=job.progress, model=towers.plain.model)
    windows = contextual_fitting.WINDOWS_PER_BATCH
    plan = TrainingPlan(FINISH_EPOCHS, windows, FINISH_LEARNING_RATE, contextual_fitting.WEIGHT_DECAY, job.seed)
    return _Towers(plain, fit_contextual(events, pins, plan, Extras(towers.contextual.model, progress=job.progress)))


def _evaluation(train: Interactions, pins: PinFeatures, label_U: Ints, towers: _Towers) -> dict[str, Metrics]:
    """Metrics of models that have not seen the last event of any user."""
    evaluation = evaluate_baselines(train, label_U)
    evaluation["popular"] = evaluate(train, label_U, popularity_scorer(train))
    evaluation |= evaluate_related(train, pins, label_U)
    evaluation["co_engaged"] = evaluate(train, label_U, history_scorer(train, fit_ease(train.matrix())))
    user_UV, item_PV = towers.plain.vectors()
    evaluation["two_tower"] = evaluate(train, label_U, lambda user: item_PV @ user_UV[user])
    contextual = towers.contextual
    hidden_UD = contextual.hidden(windows_at_end(train, contextual.model.settings.max_history))
    head_UV, pins_PV = contextual.user_vectors(hidden_UD), contextual.item_vectors()
    evaluation["contextual"] = evaluate(train, label_U, lambda user: pins_PV @ head_UV[user])
    return evaluation


def _files(
    events: Interactions, pins: PinFeatures, towers: _Towers, evaluation: Mapping[str, Metrics]
) -> dict[str, Mapping[str, bytes]]:
    counts_P = decayed_counts(events.pin_E, events.time_ms_E, events.num_pins)
    report = {"leave_last_out": dict(evaluation)}
    shares = towers.contextual.shares
    of_contextual: dict[str, Any] = {
        **report,
        "same_user_negative_share": {"before_mask": shares.before, "after_mask": shares.after},
    }
    return {
        "popular": popular_files(events.pin_ids, counts_P, report, int(events.time_ms_E.max(initial=0))),
        "co_engaged": co_engaged_files(events.pin_ids, fit_ease(events.matrix()), report),
        "related": fit_related(events, pins).files(events.pin_ids, report),
        "two_tower": two_tower_files(towers.plain.model, events.pin_ids, events.event_types, report),
        "contextual": contextual_files(towers.contextual.model, events.pin_ids, events.event_types, of_contextual),
    }
