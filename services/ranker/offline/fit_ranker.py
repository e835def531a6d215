"""From a dataset to a calibrated, evaluated ranking model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.arrays import Floats
from modeling.calibration import Platt
from modeling.hashing import stable_hashes
from modeling.history_window import HistoryWindow
from modeling.interactions import Interactions, collect, leave_last_out
from modeling.training import Progress, TrainingPlan, seed_everything, silent
from modeling.training_data import PinTable, TrainingData
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings
from services.ranker.domain.preprocess import MICROS
from services.ranker.offline.evaluate import (
    calibrate,
    evaluate_heads,
    evaluate_order,
    golden_request,
    held_out_logits,
)
from services.ranker.offline.examples import Requests, RequestSampler
from services.ranker.offline.fitting import PinColumns, RequestTensors, fit
from services.ranker.offline.retrieval_features import cross_fit, fit_retrieval
from services.ranker.offline.served_examples import served_requests
from services.ranker.outbound.bundle_model_files import ranker_files

TRAINING_HISTORY = 32  # events per training request; serving reads up to 100, position and age carry over
HELD_OUT_SHARE = 0.05  # of the requests: calibration and metrics of the heads


@dataclass(frozen=True)
class RankerPlan:
    """How much to train on."""

    max_requests: int = 40_000
    max_served_requests: int = 10_000
    num_epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 4e-3
    seed: int = 17


@dataclass(frozen=True)
class FittedRanker:
    """The files of a bundle and what was measured."""

    files: Mapping[str, bytes]
    evaluation: Mapping[str, Any]


def fit_ranker(data: TrainingData, plan: RankerPlan, *, progress: Progress = silent) -> FittedRanker:
    """Train without each user's last event, calibrate on held-out requests, evaluate the order on the last events."""
    events = collect(data.histories, data.pins.pin_ids)
    train, label_U = leave_last_out(events)
    pins = pin_columns(data.pins.extended(events.pin_ids))
    requests = training_requests(data, train, plan)
    settings = RankerSettings(content_width=pins.content_PW.shape[1])
    num_held_out = max(1, int(HELD_OUT_SHARE * len(requests)))
    order = np.random.default_rng(plan.seed).permutation(len(requests))
    held_out, used = requests.take(order[:num_held_out]), requests.take(order[num_held_out:])
    seed_everything(plan.seed)
    model = HistoryRanker(settings)
    training = TrainingPlan(plan.num_epochs, plan.batch_size, plan.learning_rate, seed=plan.seed)
    fit(model, used, RequestTensors(used, pins, train, settings), training, progress)
    held_out_tensors = RequestTensors(held_out, pins, train, settings)
    logit_NH, label_NH = held_out_logits(model, held_out, held_out_tensors)
    platt = calibrate(logit_NH, label_NH)
    evaluation = {
        "leave_last_out": evaluate_order(
            model, train, label_U, fit_retrieval(train), lambda rows: RequestTensors(rows, pins, train, settings)
        ),
        "heads": evaluate_heads(_probabilities(platt, logit_NH), label_NH),
        "num_requests": len(used),
    }
    return FittedRanker(ranker_files(model, platt, golden_request(held_out_tensors), evaluation), evaluation)


def training_requests(data: TrainingData, train: Interactions, plan: RankerPlan) -> Requests:
    """Sampled requests from histories, and the served ones when there are any."""
    models, fold_U = cross_fit(train, plan.seed)
    sampler = RequestSampler(train, models, fold_U, max_history=TRAINING_HISTORY, seed=plan.seed)
    sampled = sampler.sample(plan.max_requests)
    if data.served is None:
        return sampled
    served = served_requests(
        data.served,
        train,
        models,
        fold_U,
        max_history=TRAINING_HISTORY,
        num_candidates=sampled.pin_RC.shape[1],
        max_requests=plan.max_served_requests,
        seed=plan.seed,
    )
    return sampled if served is None else _joined(sampled, served)


def pin_columns(pins: PinTable) -> PinColumns:
    """Model inputs of the pins, with the units of serving."""
    price_P = (pins.price_micros_P / MICROS).astype(np.float32)
    return PinColumns(stable_hashes(pins.pin_ids), pins.content_PW, pins.created_ms_P, price_P)


def _joined(first: Requests, second: Requests) -> Requests:
    windows = [
        np.concatenate([getattr(first.window, name), getattr(second.window, name)])
        for name in ("pin_BL", "type_BL", "time_ms_BL")
    ]
    columns = [
        np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("time_ms_R", "pin_RC", "label_RCH", "score_RCG")
    ]
    return Requests(HistoryWindow(*windows), *columns)


def _probabilities(platt_by_head: Mapping[str, Platt], logit_NH: Floats) -> Floats:
    return np.stack([platt(logit_NH[:, row]) for row, platt in enumerate(platt_by_head.values())], axis=1)
