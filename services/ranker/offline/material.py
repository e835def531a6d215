"""What a ranker is trained, calibrated and judged on: requests of a dataset, parted the same way every time.

Shapes: R requests.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Bools, Ints
from modeling.history_window import HistoryWindow
from modeling.interactions import Interactions, collect, leave_last_out
from modeling.training_data import TrainingData
from services.ranker.offline.examples import Requests, RequestSampler
from services.ranker.offline.pin_columns import PinColumns, pin_columns
from services.ranker.offline.plan import RankerPlan
from services.ranker.offline.retrieval_features import cross_fit
from services.ranker.offline.served_examples import served_requests

TRAINING_HISTORY = 32  # events per training request; serving reads more, which steps back and gaps carry over
NUM_PARTS = 20  # one of them is held out: 5 %
SERVED_PARTS = 4  # of these every fourth: a surface needs some thousand candidates for honest probabilities
MIX = 2_654_435_761  # odd, so the times of one session, which differ by little, part


@dataclass(frozen=True)
class Material:
    """Events without each user's last one, which is the label, and requests that a model may and may not learn from."""

    train: Interactions
    label_U: Ints
    pins: PinColumns
    used: Requests
    held_out: Requests
    held_out_served: Requests | None

    @property
    def for_calibration(self) -> Requests:
        """What was really shown, where anything was: sampled negatives say nothing about how often people click."""
        return self.held_out_served or self.held_out


def prepare(data: TrainingData, plan: RankerPlan) -> Material:
    """Requests are held out by their time, so that a later dataset holds the same ones out."""
    events = collect(data.histories, data.pins.pin_ids)
    train, label_U = leave_last_out(events)
    models, fold_U = cross_fit(train, plan.seed)
    sampler = RequestSampler(train, models, fold_U, max_history=TRAINING_HISTORY, seed=plan.seed)
    used, held_out = _parted(sampler.sample(plan.max_requests), NUM_PARTS)
    served = None
    if data.served is not None:
        served = served_requests(
            data.served,
            train,
            models,
            fold_U,
            max_history=TRAINING_HISTORY,
            num_candidates=used.pin_RC.shape[1],
            max_requests=plan.max_served_requests,
            seed=plan.seed,
        )
    pins = pin_columns(data.pins.extended(events.pin_ids))
    if served is None:
        return Material(train, label_U, pins, used, held_out, None)
    used_served, held_out_served = _parted(served, SERVED_PARTS)
    return Material(train, label_U, pins, _joined(used, used_served), held_out, held_out_served)


def _parted(requests: Requests, num_parts: int) -> tuple[Requests, Requests]:
    """Those to learn from and those held out; either has at least one request."""
    is_out_R: Bools = ((requests.time_ms_R * MIX) >> 16) % num_parts == 0
    if not is_out_R.any() or is_out_R.all():
        is_out_R = ((np.arange(len(requests)) * MIX) >> 16) % num_parts == 0  # row 0 at least
    return requests.take(np.flatnonzero(~is_out_R)), requests.take(np.flatnonzero(is_out_R))


def _joined(first: Requests, second: Requests) -> Requests:
    windows = [
        np.concatenate([getattr(first.window, name), getattr(second.window, name)])
        for name in ("pin_BL", "type_BL", "time_ms_BL")
    ]
    columns = [
        np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("time_ms_R", "pin_RC", "label_RCH", "score_RCG", "surface_R")
    ]
    return Requests(HistoryWindow(*windows), *columns)
