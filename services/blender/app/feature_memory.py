"""Features of pins that were asked for lately: most feeds need not ask again, and they hold while the indexer is away.

Shapes: R rows, one per remembered pin; D dimensions of a content vector.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from chassis.clock import SYSTEM_CLOCK, Clock
from services.blender.domain.pin_features import PinFeatures, no_features

NEVER_S = -np.inf
REFRESH_SHARE = 0.5  # of the age up to which a row may be used unasked; in use beyond it, a row is asked for anew


class FeatureMemory:
    """The last `num_pins` pins, about 0.6 kB each with a vector of 64 numbers; who was put the longest ago leaves."""

    def __init__(self, num_pins: int, max_age_s: float = 0.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._num_pins, self._max_age_s, self._clock = num_pins, max_age_s, clock
        self._row_by_pin: dict[str, int] = {}  # a row stays a pin's until another pin gets it
        self._columns = _Columns(0)
        self._put_s_R = np.empty(0)
        self._num_put = 0
        self._in_use: dict[str, None] = {}  # pins with ageing rows

    def __len__(self) -> int:
        return len(self._row_by_pin)

    def remember(self, features: PinFeatures) -> None:
        """Keep copies: a view would keep the whole answer alive."""
        if not features.pin_ids:
            return
        rows = [self._row_for(pin_id) for pin_id in features.pin_ids]
        self._columns.put(rows, features)
        self._put_s_R[rows] = self._clock.monotonic_s()

    def recall(self, pin_ids: Iterable[str], max_age_s: float = np.inf) -> PinFeatures:
        """The rows that are remembered and not older than `max_age_s`."""
        known = [(pin_id, self._row_by_pin[pin_id]) for pin_id in pin_ids if pin_id in self._row_by_pin]
        if not known:
            return no_features()
        age_s_R = self._clock.monotonic_s() - self._put_s_R[[row for _, row in known]]
        kept = [pair for pair, is_kept in zip(known, (age_s_R <= max_age_s).tolist(), strict=True) if is_kept]
        ageing = age_s_R > self._max_age_s * REFRESH_SHARE
        self._in_use.update((known[at][0], None) for at in np.flatnonzero(ageing & (age_s_R <= max_age_s)))
        return self._columns.take([pin_id for pin_id, _ in kept], [row for _, row in kept])

    def recall_fresh(self, pin_ids: Iterable[str]) -> PinFeatures:
        """The rows that may be used without asking."""
        return self.recall(pin_ids, self._max_age_s) if self._max_age_s else no_features()

    def take_ageing(self, num: int) -> Sequence[str]:
        """At most `num` pins that were recalled although their rows are no longer young, each once."""
        taken = [pin_id for pin_id, _ in zip(self._in_use, range(num), strict=False)]
        for pin_id in taken:
            del self._in_use[pin_id]
        return taken

    def _row_for(self, pin_id: str) -> int:
        row = self._row_by_pin.pop(pin_id, None)
        if row is None:
            row = self._free_row()
        self._row_by_pin[pin_id] = row  # at the end: the newest
        return row

    def _free_row(self) -> int:
        if len(self._row_by_pin) >= self._num_pins:
            oldest = next(iter(self._row_by_pin))
            self._in_use.pop(oldest, None)
            return self._row_by_pin.pop(oldest)
        row = len(self._row_by_pin)
        if row == len(self._put_s_R):
            num_rows = min(self._num_pins, max(1_024, 2 * row))
            self._columns.grow(num_rows)
            self._put_s_R = np.append(self._put_s_R, np.full(num_rows - row, NEVER_S))
        return row


class _Columns:
    """R rows of PinFeatures, to be written and read by row."""

    def __init__(self, num_rows: int) -> None:
        self.vectors_RD = np.zeros((num_rows, 1), dtype=np.float32)
        self.is_labelled_R: NDArray[np.bool_] = np.zeros(num_rows, dtype=np.bool_)
        self.quality_R = np.ones(num_rows)
        self.texts: list[tuple[str, str, str, str, Sequence[int]]] = [("", "", "", "", ())] * num_rows

    def grow(self, num_rows: int) -> None:
        """To `num_rows`."""
        extra = num_rows - len(self.texts)
        self.vectors_RD = np.pad(self.vectors_RD, ((0, extra), (0, 0)))
        self.is_labelled_R = np.pad(self.is_labelled_R, (0, extra))
        self.quality_R = np.pad(self.quality_R, (0, extra), constant_values=1.0)
        self.texts += [("", "", "", "", ())] * extra

    def put(self, rows: Sequence[int], features: PinFeatures) -> None:
        """Vectors of a new width take the place of all others: an encoder was changed, and widths do not mix."""
        width = features.vectors_RD.shape[1]
        if width != self.vectors_RD.shape[1]:
            if not features.vectors_RD.any():
                width = 0
            else:
                self.vectors_RD = np.zeros((len(self.texts), width), dtype=np.float32)
        self.vectors_RD[rows] = features.vectors_RD if width else 0.0
        self.is_labelled_R[rows] = features.is_labelled_R
        self.quality_R[rows] = features.quality_R
        codes = features.semantic_ids or [()] * len(rows)
        texts = zip(
            features.topics, features.creators, features.advertisers, features.content_groups, codes, strict=True
        )
        for row, text in zip(rows, texts, strict=True):
            self.texts[row] = text

    def take(self, pin_ids: Sequence[str], rows: Sequence[int]) -> PinFeatures:
        """These rows, copied."""
        if not pin_ids:
            return no_features()
        topics, creators, advertisers, groups, codes = zip(*(self.texts[row] for row in rows), strict=True)
        return PinFeatures(
            pin_ids,
            self.vectors_RD[rows],
            topics,
            creators,
            advertisers,
            groups,
            self.is_labelled_R[rows],
            self.quality_R[rows],
            codes if any(codes) else (),
        )
