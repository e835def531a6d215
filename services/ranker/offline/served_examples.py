"""Training requests from what was really served: every shown pin with what the user did to it.

Shapes: R requests, C candidates, H heads, L history positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from modeling.arrays import Bools, Floats, Ints
from modeling.history_window import windows_before
from modeling.interactions import Interactions
from services.ranker.domain.features import HEADS, NO_SCORE, SURFACE_ROW
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.retrieval_features import RetrievalModel

LABEL_COLUMN = {
    "click": "clicked",
    "save": "saved",
    "hide": "hidden",
    "long_view": "long_viewed",
    "share": "shared",
    "conversion": "converted",
}


@dataclass(frozen=True)
class _Shown:
    """Served rows in numbers of the interactions; -1 = a user or pin they do not have."""

    user_N: Ints
    pin_N: Ints
    time_ms_N: Ints
    label_NH: Floats


def served_requests(
    served: pa.Table,
    events: Interactions,
    models: Sequence[RetrievalModel],
    fold_U: Ints,
    *,
    max_history: int,
    num_candidates: int,
    max_requests: int,
    seed: int,
) -> Requests | None:
    """The newest `max_requests` served requests in which something happened; None when there is none.

    A request keeps at most `num_candidates` pins: those with a label first, then others at random.
    """
    shown = _numbered(served, events)
    random = np.random.default_rng(seed)
    groups = [group for group in _by_request(served, shown) if shown.label_NH[group].any()]
    groups = sorted(groups, key=lambda group: int(shown.time_ms_N[group[0]]))[-max_requests:]
    if not groups:
        return None
    rows = [group[_choose(shown.label_NH[group], num_candidates, random)] for group in groups]
    first_R = np.asarray([row[0] for row in rows])
    user_R, time_ms_R = shown.user_N[first_R], shown.time_ms_N[first_R]
    event_R = _event_at(events, user_R, time_ms_R)
    window = windows_before(events, event_R, max_history, user_R)
    pin_RC, label_RCH, score_RCG = _blank(len(rows), num_candidates)
    for place, row in enumerate(rows):
        pin_RC[place, : len(row)] = shown.pin_N[row]
        label_RCH[place, : len(row)] = shown.label_NH[row]
        seen = events.pin_E[events.starts[user_R[place]] : event_R[place]]
        scores = models[fold_U[user_R[place]]].scores(window.pin_BL[place], _seen(events, seen, shown.pin_N[row]))
        score_RCG[place, : len(row)] = np.stack([column[shown.pin_N[row]] for column in scores.values()], axis=1)
    surfaces = served.column("surface").to_pylist()
    surface_R = np.asarray([SURFACE_ROW.get(surfaces[row], 0) for row in first_R], dtype=np.int64)
    return Requests(window, time_ms_R, pin_RC, label_RCH, score_RCG, surface_R)


def _numbered(served: pa.Table, events: Interactions) -> _Shown:
    user_row = {user_id: row for row, user_id in enumerate(events.user_ids)}
    pin_row = {pin_id: row for row, pin_id in enumerate(events.pin_ids)}
    return _Shown(
        np.asarray([user_row.get(user, -1) for user in served.column("user_id").to_pylist()], dtype=np.int64),
        np.asarray([pin_row.get(pin, -1) for pin in served.column("pin_id").to_pylist()], dtype=np.int64),
        np.asarray(served.column("served_time_ms").to_pylist(), dtype=np.int64),
        np.stack([_column(served, LABEL_COLUMN[head]) for head in HEADS], axis=1).astype(np.float32),
    )


def _seen(events: Interactions, seen: Ints, shown: Ints) -> Bools:
    """Pins met before; what the request showed was open all the same."""
    is_seen_P = np.zeros(events.num_pins, dtype=np.bool_)
    is_seen_P[seen] = True
    is_seen_P[shown] = False
    return is_seen_P


def _blank(num_requests: int, num_candidates: int) -> tuple[Ints, Floats, Floats]:
    return (
        np.full((num_requests, num_candidates), PADDING, dtype=np.int64),
        np.zeros((num_requests, num_candidates, len(HEADS)), dtype=np.float32),
        np.full((num_requests, num_candidates, 2), NO_SCORE, dtype=np.float32),
    )


def _column(table: pa.Table, name: str) -> Bools:
    return np.asarray([bool(value) for value in table.column(name).to_pylist()], dtype=np.bool_)


def _by_request(served: pa.Table, shown: _Shown) -> list[Ints]:
    is_known_N = (shown.user_N >= 0) & (shown.pin_N >= 0)
    rows: dict[str, list[int]] = {}
    for row, request_id in enumerate(served.column("request_id").to_pylist()):
        if is_known_N[row]:
            rows.setdefault(request_id, []).append(row)
    return [np.asarray(group, dtype=np.int64) for group in rows.values()]


def _choose(label_CH: Floats, num_candidates: int, random: np.random.Generator) -> Ints:
    is_labelled_C = label_CH.any(axis=1)
    labelled, others = np.flatnonzero(is_labelled_C), random.permutation(np.flatnonzero(~is_labelled_C))
    return np.concatenate([labelled, others])[:num_candidates]


def _event_at(events: Interactions, user_R: Ints, time_ms_R: Ints) -> Ints:
    """For each request the number of the user's first event at or after it (one past the last when there is none)."""
    starts = events.starts
    return np.asarray(
        [
            starts[user] + np.searchsorted(events.time_ms_E[starts[user] : starts[user + 1]], time_ms, side="left")
            for user, time_ms in zip(user_R, time_ms_R, strict=True)
        ],
        dtype=np.int64,
    )
