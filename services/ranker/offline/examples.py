"""Training requests: a history, candidates with retrieval scores, and what happened to each candidate.

Shapes: R requests, L history positions, C candidates, G generators, H heads, P pins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modeling.arrays import Bools, Doubles, Floats, Ints
from modeling.history_window import HistoryWindow, windows_before
from modeling.interactions import Interactions
from services.ranker.domain.features import HEADS, NO_SCORE
from services.ranker.offline.retrieval_features import RetrievalModel

HEAD_OF_EVENT = {"rating": "click"} | {head: head for head in HEADS}
ATTRIBUTION_WINDOW_MS = 30 * 60 * 1_000
NUM_HARD = 12  # negatives that co_engaged returned: the ones serving has to tell apart
NUM_POPULAR = 8  # negatives by popularity: what fills the rest of a pool
PADDING = -1
AWAY_SHARE = 0.5  # of sampled requests that come later than the engagement that they are made of
AWAY_S = (60.0, 90 * 24 * 3_600.0)  # how much later, evenly on a logarithmic scale


@dataclass(frozen=True)
class Requests:
    """Rows of training data. `pin_RC` is -1 where a request has fewer candidates; labels are 0 or 1."""

    user_R: Ints
    window: HistoryWindow
    time_ms_R: Ints
    pin_RC: Ints
    label_RCH: Floats
    score_RCG: Floats
    surface_R: Ints  # row of `SURFACE_ROW`, 0 = not known

    def __len__(self) -> int:
        return len(self.pin_RC)

    def take(self, row_B: Ints) -> "Requests":
        """Only these rows."""
        window = self.window.take(row_B)
        pin_BC, label_BCH, score_BCG = self.pin_RC[row_B], self.label_RCH[row_B], self.score_RCG[row_B]
        request_B = self.user_R[row_B], window, self.time_ms_R[row_B]
        return Requests(*request_B, pin_BC, label_BCH, score_BCG, self.surface_R[row_B])

    def padded(self, num_candidates: int) -> "Requests":
        """The same with as many columns, the new ones empty."""
        extra = num_candidates - self.pin_RC.shape[1]
        return replace(
            self,
            pin_RC=np.pad(self.pin_RC, ((0, 0), (0, extra)), constant_values=PADDING),
            label_RCH=np.pad(self.label_RCH, ((0, 0), (0, extra), (0, 0))),
            score_RCG=np.pad(self.score_RCG, ((0, 0), (0, extra), (0, 0)), constant_values=NO_SCORE),
        )


def joined(parts: Sequence[Requests]) -> Requests:
    """All rows in order; those with fewer candidates are padded. At least one part."""
    size = max(part.pin_RC.shape[1] for part in parts)
    padded = [part.padded(size) for part in parts]

    def stack(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in padded])

    windows = [[getattr(part.window, name) for part in padded] for name in ("pin_BL", "type_BL", "time_ms_BL")]
    return Requests(
        stack("user_R"),
        HistoryWindow(*(np.concatenate(column) for column in windows)),
        *(stack(name) for name in ("time_ms_R", "pin_RC", "label_RCH", "score_RCG", "surface_R")),
    )


class RequestSampler:
    """Makes one request per sampled engagement event: its pin is the positive, pins nobody chose are negatives."""

    def __init__(
        self, interactions: Interactions, models: Sequence[RetrievalModel], fold_U: Ints, *, max_history: int, seed: int
    ) -> None:
        self._events = interactions
        self._models = models
        self._fold_U = fold_U
        self._max_history = max_history
        self._random = np.random.default_rng(seed)
        self._chance = [_chances(model.popularity_P) for model in models]

    def sample(self, num_requests: int, is_open_E: Bools) -> Requests:
        """At most `num_requests` requests at random open events with a pin new to the user, in random order."""
        event_R = self._random.permutation(np.flatnonzero(self._events.is_new & is_open_E))[:num_requests]
        window = windows_before(self._events, event_R, self._max_history)
        rows = [self._candidates(event, window.pin_BL[row]) for row, event in enumerate(event_R)]
        pins, scores = (np.stack(column) for column in zip(*rows, strict=True))
        labels, surface_R = self._labels(event_R, pins.shape[1]), np.zeros(len(event_R), dtype=np.int64)
        request_R = self._events.user_E[event_R], window, self._events.time_ms_E[event_R] + self._away_ms(len(event_R))
        return Requests(*request_R, pins, labels, scores, surface_R)

    def _away_ms(self, num_requests: int) -> Ints:
        """How much later each request comes. An engagement mostly follows another within seconds, and feeds are asked
        for after hours or weeks: a model that never saw that takes who returns for somebody without a history."""
        away_s_R = np.exp(self._random.uniform(np.log(AWAY_S[0]), np.log(AWAY_S[1]), num_requests))
        is_away_R = self._random.random(num_requests) < AWAY_SHARE
        return np.asarray(is_away_R * away_s_R * 1_000, dtype=np.int64)

    def _candidates(self, event: int, history_L: Ints) -> tuple[Ints, Floats]:
        """The positive first, then negatives; scores of each generator."""
        user, positive = int(self._events.user_E[event]), int(self._events.pin_E[event])
        fold = self._fold_U[user]
        is_seen_P = self._seen(user, event)
        scores = self._models[fold].scores(history_L, is_seen_P)
        is_open_P = ~is_seen_P
        is_open_P[self._ever(user)] = False
        hard = self._pick(np.flatnonzero((scores["co_engaged"] > -1e5) & is_open_P), NUM_HARD)
        popular = self._random.choice(len(is_open_P), NUM_POPULAR, p=self._chance[fold])
        popular = np.where(is_open_P[popular], popular, PADDING)
        pins = np.concatenate([[positive], hard, popular])
        score_CG = np.stack([column[np.maximum(pins, 0)] for column in scores.values()], axis=1)
        return pins, score_CG

    def _seen(self, user: int, event: int) -> Bools:
        """Pins the user had met before this event."""
        is_seen_P = np.zeros(self._events.num_pins, dtype=np.bool_)
        is_seen_P[self._events.pin_E[self._events.starts[user] : event]] = True
        return is_seen_P

    def _ever(self, user: int) -> Ints:
        starts = self._events.starts
        return self._events.pin_E[starts[user] : starts[user + 1]]

    def _pick(self, pool: Ints, count: int) -> Ints:
        picked = np.full(count, PADDING, dtype=np.int64)
        if len(pool):
            chosen = self._random.choice(pool, min(count, len(pool)), replace=False)
            picked[: len(chosen)] = chosen
        return picked

    def _labels(self, event_R: Ints, num_candidates: int) -> Floats:
        """The positive's label per head: everything the user did with that pin within the attribution window."""
        label_RCH = np.zeros((len(event_R), num_candidates, len(HEADS)), dtype=np.float32)
        events = self._events
        for row, event in enumerate(event_R):
            end = (
                int(
                    np.searchsorted(
                        events.time_ms_E[event : events.starts[events.user_E[event] + 1]],
                        events.time_ms_E[event] + ATTRIBUTION_WINDOW_MS,
                        side="right",
                    )
                )
                + event
            )
            same = np.flatnonzero(events.pin_E[event:end] == events.pin_E[event]) + event
            for name in {events.event_types[kind] for kind in events.type_E[same]} & HEAD_OF_EVENT.keys():
                label_RCH[row, 0, HEADS.index(HEAD_OF_EVENT[name])] = 1.0
        return label_RCH


def _chances(popularity_P: Floats) -> Doubles:
    weight_P = popularity_P.astype(np.float64) ** 0.75 + 1e-3
    return np.asarray(weight_P / weight_P.sum())
