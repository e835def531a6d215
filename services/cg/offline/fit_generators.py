"""Fits the generators that learn: popular, co_engaged, two_tower; evaluates them on held-out events first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.arrays import Floats
from modeling.hashing import stable_hash
from modeling.interactions import Interactions, collect, leave_last_out
from modeling.item_to_item import fit_ease
from modeling.popularity import decayed_counts
from modeling.training import Progress, TrainingPlan, silent
from modeling.training_data import PinTable, TrainingData
from services.cg.domain.two_tower import TwoTower, TwoTowerSettings
from services.cg.domain.two_tower_features import MAX_TOPICS, PinFeatures, topic_buckets
from services.cg.offline.evaluate import Metrics, evaluate, evaluate_baselines, history_scorer, popularity_scorer
from services.cg.offline.two_tower_training import TwoTowerTrainer, fit
from services.cg.outbound.bundle_model_files import co_engaged_files, popular_files, two_tower_files

BATCH_SIZE = 512
TARGET_STEPS = 300  # ten seconds on one core; 600 beat item-to-item models on 100 k events
MIN_EPOCHS, MAX_EPOCHS = 3, 12
LEARNING_RATE = 4e-3
FINISH_LEARNING_RATE = 1e-3  # the last pass, which adds the held-out events to an evaluated model


@dataclass(frozen=True)
class Fitted:
    """Bundles ready to be written, and the vector of every user by the new two-tower model."""

    files_by_name: Mapping[str, Mapping[str, bytes]]
    evaluation: Mapping[str, Metrics]
    user_ids: tuple[str, ...]
    user_UV: Floats


def fit_all(data: TrainingData, *, seed: int, is_evaluated: bool = True, progress: Progress = silent) -> Fitted:
    """Everything from one dataset. With the same data and seed the result is the same."""
    events = collect(data.histories, data.pins.pin_ids)
    pins = pin_features(data.pins.extended(events.pin_ids))
    evaluation, model = _evaluated(events, pins, seed, progress) if is_evaluated else ({}, None)
    if model is None:
        model, trainer = fit(events, pins, _plan(int(events.is_new.sum()), seed), progress=progress)
    else:
        plan = TrainingPlan(1, BATCH_SIZE, FINISH_LEARNING_RATE, seed=seed)
        model, trainer = fit(events, pins, plan, progress=progress, model=model)
    return Fitted(_files(events, model, evaluation), evaluation, events.user_ids, trainer.vectors()[0])


def pin_features(pins: PinTable) -> PinFeatures:
    """Model inputs of the pins; the id rows are 1..P."""
    topic_PT = np.full((len(pins.pin_ids), MAX_TOPICS), -1, dtype=np.int64)
    for row, topics in enumerate(pins.topics):
        hashes = [stable_hash(topic) for topic in topics[:MAX_TOPICS]]
        topic_PT[row, : len(hashes)] = hashes
    norm_P1 = np.maximum(np.linalg.norm(pins.content_PW, axis=1, keepdims=True), 1e-9)
    buckets = topic_buckets(topic_PT, TwoTowerSettings.topic_buckets)
    return PinFeatures(np.arange(1, len(pins.pin_ids) + 1), (pins.content_PW / norm_P1).astype(np.float32), buckets)


def _evaluated(
    events: Interactions, pins: PinFeatures, seed: int, progress: Progress
) -> tuple[dict[str, Metrics], TwoTower | None]:
    """Metrics of models that have not seen the last event of any user, and that two-tower model."""
    train, label_U = leave_last_out(events)
    if not (label_U >= 0).any():
        return {}, None
    model, trainer = fit(train, pins, _plan(int(train.is_new.sum()), seed), progress=progress)
    evaluation = evaluate_baselines(train, label_U)
    evaluation["popular"] = evaluate(train, label_U, popularity_scorer(train))
    evaluation["co_engaged"] = evaluate(train, label_U, history_scorer(train, fit_ease(train.matrix())))
    evaluation["two_tower"] = _evaluate_two_tower(train, label_U, trainer)
    return evaluation, model


def _evaluate_two_tower(train: Interactions, label_U: Any, trainer: TwoTowerTrainer) -> Metrics:
    user_UV, item_PV = trainer.vectors()
    return evaluate(train, label_U, lambda user: item_PV @ user_UV[user])


def _plan(num_events: int, seed: int) -> TrainingPlan:
    steps_per_epoch = max(1, -(-num_events // BATCH_SIZE))
    num_epochs = int(np.clip(round(TARGET_STEPS / steps_per_epoch), MIN_EPOCHS, MAX_EPOCHS))
    return TrainingPlan(num_epochs, BATCH_SIZE, LEARNING_RATE, seed=seed)


def _files(events: Interactions, model: TwoTower, evaluation: Mapping[str, Metrics]) -> dict[str, Mapping[str, bytes]]:
    counts_P = decayed_counts(events.pin_E, events.time_ms_E, events.num_pins)
    report = {"leave_last_out": dict(evaluation)}
    return {
        "popular": popular_files(events.pin_ids, counts_P, report),
        "co_engaged": co_engaged_files(events.pin_ids, fit_ease(events.matrix()), report),
        "two_tower": two_tower_files(model, events.pin_ids, events.event_types, report),
    }
