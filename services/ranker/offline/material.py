"""What a ranker is trained, calibrated and judged on: requests of a dataset, parted the same way every time.

Shapes: R requests.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Bools, Ints
from modeling.interactions import Interactions, collect
from modeling.training_data import TrainingData
from services.ranker.offline.examples import ATTRIBUTION_WINDOW_MS, Requests, RequestSampler, joined
from services.ranker.offline.parts import Parts, part
from services.ranker.offline.pin_columns import PinColumns, pin_columns
from services.ranker.offline.plan import RankerPlan
from services.ranker.offline.retrieval_features import cross_fit
from services.ranker.offline.served_examples import ServedExamples, ServedReading

TRAINING_HISTORY = 32  # events per training request; serving reads more, which steps back and gaps carry over


@dataclass(frozen=True)
class Material:
    """The parts of all events, and requests that a model may and may not learn from."""

    parts: Parts
    pins: PinColumns
    used: Requests
    held_out: Requests
    held_out_served: Requests | None

    @property
    def train(self) -> Interactions:
        """All events but each user's label and what followed it."""
        return self.parts.train

    @property
    def label_U(self) -> Ints:
        """Each user's last new pin; -1 = none."""
        return self.parts.label_U

    @property
    def for_calibration(self) -> Requests:
        """What was really shown, where anything was: sampled negatives say nothing about how often people click."""
        return self.held_out_served or self.held_out


def prepare(data: TrainingData, plan: RankerPlan) -> Material:
    """Sampled requests of the newer events and, where anything was served since, served ones."""
    parts = part(collect(data.histories, data.pins.pin_ids))
    pins = pin_columns(data.pins.extended(parts.events.pin_ids))
    models, fold_U = cross_fit(parts.train, plan.seed)
    sampler = RequestSampler(parts.train, models, fold_U, max_history=TRAINING_HISTORY, seed=plan.seed)
    used, held_out = _parted(sampler.sample(plan.max_requests, parts.is_asked_E), parts.is_held_out_U)
    if data.served is None:
        return Material(parts, pins, used, held_out, None)
    until_ms_U = parts.label_time_ms_U - ATTRIBUTION_WINDOW_MS
    reading = ServedReading(parts.asked_from_ms_U, until_ms_U, TRAINING_HISTORY, plan.max_served_requests)
    served = ServedExamples(parts.train, models, fold_U, reading).read(data.served())
    if served is None:
        return Material(parts, pins, used, held_out, None)
    used_served, held_out_served = _parted(served, parts.is_held_out_U)
    return Material(parts, pins, joined([used, used_served]), held_out, held_out_served)


def _parted(requests: Requests, is_held_out_U: Bools) -> tuple[Requests, Requests]:
    """Those to learn from and those held out."""
    is_out_R = is_held_out_U[requests.user_R]
    return requests.take(np.flatnonzero(~is_out_R)), requests.take(np.flatnonzero(is_out_R))
