"""The rows that training would have had for logged rankings, made by the very code that training uses.

Shapes: R rankings, L history events (newest last), C candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modeling.arrays import AnyArray
from modeling.history_window import HistoryWindow, windows_at_end
from modeling.interactions import History, collect
from services.ranker.domain.features import CANDIDATE, FEATURES, HEADS, NO_SCORE, SURFACE_ROW
from services.ranker.domain.history_ranker import RankerSettings
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.fitting import HistoryTensors, RequestTensors
from services.ranker.offline.logged_rankings import Lake, LoggedRanking, PastEvent
from services.ranker.offline.pin_columns import pin_columns


@dataclass(frozen=True)
class TrainingView:
    """Values by feature of one ranking, without padding; `event_ids` name the rows of the history, oldest first."""

    values: Mapping[str, AnyArray]
    event_ids: tuple[str, ...]


def training_views(
    rankings: Sequence[LoggedRanking], visible: Sequence[Sequence[PastEvent]], lake: Lake
) -> list[TrainingView]:
    """One per ranking, given the events [L] that it could see. Everything at once: a batch of some dozen."""
    users = [str(number) for number in range(len(rankings))]  # a user's history is another one at each ranking
    events = collect([_history(user, past) for user, past in zip(users, visible, strict=True)], lake.pins.pin_ids)
    named = collect([_history(user, past, of_pins=False) for user, past in zip(users, visible, strict=True)], ())
    pin_ids = tuple(dict.fromkeys([*events.pin_ids, *(pin_id for each in rankings for pin_id in each.pin_ids)]))
    pins = lake.pins.extended(pin_ids)
    length = int(np.diff(events.starts).max(initial=0))
    window, names = windows_at_end(events, length), windows_at_end(named, length)
    requests = _requests(rankings, {pin_id: row for row, pin_id in enumerate(pin_ids)}, window)
    settings = RankerSettings(content_width=pins.content_PW.shape[1])
    histories = HistoryTensors(pin_columns(pins), events)
    inputs = RequestTensors(requests, histories, settings).inputs(np.arange(len(rankings)))
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    views = []
    for row, ranking in enumerate(rankings):
        is_event_L = window.is_real[row]
        values = {
            name: value[row, : len(ranking.pin_ids)] if FEATURES[name].axis == CANDIDATE else value[row, is_event_L]
            for name, value in arrays.items()
        }
        ids = tuple(named.pin_ids[number] for number in names.pin_BL[row, is_event_L].tolist())
        views.append(TrainingView(values, ids))
    return views


def _history(user: str, past: Sequence[PastEvent], *, of_pins: bool = True) -> History:
    """With event ids in the place of pins the same code tells which row is which event."""
    ids = [each.pin_id if of_pins else each.event_id for each in past]
    return History(user, ids, [each.event_type for each in past], [each.time_ms for each in past])


def _requests(rankings: Sequence[LoggedRanking], pin_row: Mapping[str, int], window: HistoryWindow) -> Requests:
    num_candidates = max(len(each.pin_ids) for each in rankings)
    pin_RC = np.full((len(rankings), num_candidates), PADDING, dtype=np.int64)
    for row, ranking in enumerate(rankings):
        pin_RC[row, : len(ranking.pin_ids)] = [pin_row[pin_id] for pin_id in ranking.pin_ids]
    return Requests(
        user_R=np.arange(len(rankings)),
        window=window,
        time_ms_R=np.asarray([each.time_ms for each in rankings], dtype=np.int64),
        pin_RC=pin_RC,
        label_RCH=np.zeros((*pin_RC.shape, len(HEADS)), dtype=np.float32),
        score_RCG=np.full((*pin_RC.shape, 2), NO_SCORE, dtype=np.float32),
        surface_R=np.asarray([SURFACE_ROW.get(each.surface, 0) for each in rankings], dtype=np.int64),
    )
