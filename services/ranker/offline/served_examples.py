"""Training requests from what was really served: every shown pin with what the user did to it, often nothing.

They come from training rows, so the history is the one that the feed was made of, and is read once per request.
Shapes: R requests, E events of all of them, B shown pins of all of them, C candidates, L history positions, H heads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from modeling.arrays import Bools, Floats, Ints
from modeling.history_window import HistoryWindow
from modeling.interactions import Interactions
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch
from sequences.sequence_value import unpacked
from sequences.training_rows import SEQUENCE
from services.ranker.domain.features import HEADS, NO_SCORE, SURFACE_ROW
from services.ranker.offline.examples import PADDING, Requests, joined
from services.ranker.offline.retrieval_features import RetrievalModel

MAX_SHOWN = 64  # pins of one request; of a longer page the first
LABEL_OF = dict(zip(("click", "save", "hide", "long_view", "share", "conversion"), LABELS, strict=True))


@dataclass(frozen=True)
class ServedReading:
    """How much is read: of user u what was served from `from_ms_U[u]` on, before `until_ms_U[u]`."""

    from_ms_U: Ints
    until_ms_U: Ints
    max_history: int
    max_requests: int


class ServedExamples:
    """Knows the numbers of users, pins and event types; events and shown pins that have none are left out."""

    def __init__(
        self, events: Interactions, models: Sequence[RetrievalModel], fold_U: Ints, reading: ServedReading
    ) -> None:
        self._events, self._models, self._fold_U, self._reading = events, models, fold_U, reading
        self._user_row = {user_id: row for row, user_id in enumerate(events.user_ids)}
        self._pin_row = {pin_id: row for row, pin_id in enumerate(events.pin_ids)}
        self._type_row = {name: row for row, name in enumerate(events.event_types, start=1)}

    def read(self, batches: Iterable[RequestBatch]) -> Requests | None:
        """The newest `max_requests`, oldest first; None when nothing was served to a known user."""
        found = [each for batch in batches if len(each := self._requests(batch))]
        if not found:
            return None
        requests = joined(found)
        return requests.take(np.argsort(requests.time_ms_R, kind="stable")[-self._reading.max_requests :])

    def _requests(self, batch: RequestBatch) -> Requests:
        user_R = self._rows(self._user_row, batch.request_features, "user_id")
        time_ms_R = batch.request_features.column("served_time_ms").to_numpy().astype(np.int64)
        is_in_time_R = (time_ms_R >= self._reading.from_ms_U[user_R]) & (time_ms_R < self._reading.until_ms_U[user_R])
        known_K = np.flatnonzero((user_R >= 0) & is_in_time_R)
        batch, user_K, time_ms_K = batch.take(known_K), user_R[known_K], time_ms_R[known_K]
        window = self._histories(batch)
        pin_KC, label_KCH = self._shown(batch)
        score_KCG = np.full((*pin_KC.shape, 2), NO_SCORE, dtype=np.float32)
        for row, user in enumerate(user_K):
            score_KCG[row] = self._scores(int(user), int(time_ms_K[row]), window.pin_BL[row], pin_KC[row])
        surface_K = self._rows(SURFACE_ROW, batch.request_features, "surface", otherwise=0)
        return Requests(user_K, window, time_ms_K, pin_KC, label_KCH, score_KCG, surface_K)

    def _histories(self, batch: RequestBatch) -> HistoryWindow:
        """The newest events of each sequence, right-aligned."""
        shape = (batch.num_requests, self._reading.max_history)
        window = HistoryWindow(np.full(shape, PADDING), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
        events, offsets_R1 = unpacked(batch.request_features.column(SEQUENCE))
        if not events.num_rows:
            return window
        pin_E = self._rows(self._pin_row, events, "pin_id")
        type_E = self._rows(self._type_row, events, "event_type", otherwise=0)
        is_known_E = (pin_E >= 0) & (type_E > 0)
        request_E = np.repeat(np.arange(len(offsets_R1) - 1), np.diff(offsets_R1))[is_known_E]
        place_E = np.arange(len(request_E)) - np.searchsorted(request_E, request_E, side="right") + shape[1]
        at = request_E[place_E >= 0], place_E[place_E >= 0]
        time_ms_E = events.column("event_time_ms").to_numpy()
        for target, value_E in ((window.pin_BL, pin_E), (window.type_BL, type_E), (window.time_ms_BL, time_ms_E)):
            target[at] = value_E[is_known_E][place_E >= 0]
        return window

    def _shown(self, batch: RequestBatch) -> tuple[Ints, Floats]:
        """Pins [R, C] in the order they were shown, and their labels [R, C, H]."""
        candidates = batch.candidate_features
        pin_B = self._rows(self._pin_row, candidates, "pin_id")
        request_B = batch.row_to_request[pin_B >= 0]
        place_B = np.arange(len(request_B)) - np.searchsorted(request_B, request_B)
        is_kept_B = place_B < MAX_SHOWN
        at = request_B[is_kept_B], place_B[is_kept_B]
        pin_RC = np.full((batch.num_requests, MAX_SHOWN), PADDING)
        label_RCH = np.zeros((*pin_RC.shape, len(HEADS)), dtype=np.float32)
        pin_RC[at] = pin_B[pin_B >= 0][is_kept_B]
        labels = [candidates.column(LABEL_OF[head]).to_numpy(zero_copy_only=False).astype(np.bool_) for head in HEADS]
        label_RCH[at] = np.stack(labels, axis=1)[pin_B >= 0][is_kept_B]
        return pin_RC, label_RCH

    def _scores(self, user: int, time_ms: int, history_L: Ints, pin_C: Ints) -> Floats:
        """What each generator says of the shown pins [C, G]; padding has none."""
        model, is_real_C = self._models[self._fold_U[user]], pin_C >= 0
        scores = model.scores(history_L, self._seen(user, time_ms, pin_C[is_real_C]))
        return np.where(is_real_C[:, None], np.stack([each[pin_C] for each in scores.values()], axis=1), NO_SCORE)

    def _seen(self, user: int, time_ms: int, shown: Ints) -> Bools:
        """Pins met before; what the request showed was open all the same."""
        first, last = self._events.starts[user : user + 2]
        num_before = np.searchsorted(self._events.time_ms_E[first:last], time_ms, side="left")
        is_seen_P = np.zeros(self._events.num_pins, dtype=np.bool_)
        is_seen_P[self._events.pin_E[first : first + num_before]] = True
        is_seen_P[shown] = False
        return is_seen_P

    @staticmethod
    def _rows(row_of: dict[str, int], table: pa.Table, column: str, otherwise: int = PADDING) -> Ints:
        names = table.column(column).to_pylist()
        return np.fromiter((row_of.get(name, otherwise) for name in names), np.int64, len(names))
