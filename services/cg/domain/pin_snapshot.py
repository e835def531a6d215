"""The live pins at one moment, in columns. Shapes: N rows, W content width, T topics kept per pin, M moved rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from services.cg.domain.two_tower_features import MAX_TOPICS


@dataclass(frozen=True)
class PinColumns:
    """Parallel arrays. A code is a row of the index's own list of names; 0 = no name."""

    content_NW: Floats
    has_vector_N: Bools
    topic_hash_NT: Ints
    created_ms_N: Ints
    quality_N: Floats
    language_N: Ints
    group_N: Ints
    advertiser_N: Ints  # hashes; -1 = no ad
    price_N: Floats  # currency units; 0 = none
    label_set_N: Ints  # which safety labels, as a code of the set of them; 0 = none
    is_live_N: Bools

    def cut(self, num_rows: int) -> "PinColumns":
        """Views of the first rows; whether a row is live is copied, as it is the one column that changes."""
        columns = {name: getattr(self, name)[:num_rows] for name in self.__dataclass_fields__}
        return replace(self, **{**columns, "is_live_N": columns["is_live_N"].copy()})

    def is_same(self, row: int, other_row: int, tolerance: float) -> bool:
        """Whether two rows say the same of a pin, alive or not; vectors up to `tolerance` in each number."""
        others = [name for name in self.__dataclass_fields__ if name not in ("content_NW", "is_live_N")]
        if any(np.any(getattr(self, name)[row] != getattr(self, name)[other_row]) for name in others):
            return False
        return bool(np.abs(self.content_NW[row] - self.content_NW[other_row]).max(initial=0.0) <= tolerance)


@dataclass(frozen=True)
class PinFilter:
    """Which pins a request may get. Prices in currency units, 0 = no bound; a pin without a price is within any."""

    locale: str = ""
    excluded_pins: Sequence[str] = ()
    excluded_labels: frozenset[str] = frozenset()
    min_price: float = 0.0
    max_price: float = 0.0


@dataclass(frozen=True)
class Moved:
    """A compaction: the first M rows of the new generation are these rows of the old one, ascending."""

    generation: int
    old_row_M: Ints


@dataclass(frozen=True)
class PinSnapshot:
    """The index at one moment; safe to read from any thread. Rows of another `generation` mean other pins."""

    generation: int
    num_rows: int
    pin_ids: Sequence[str]
    row_of: Mapping[str, int]
    columns: PinColumns
    language_code: Mapping[str, int]
    group_names: Sequence[str]
    label_sets: Sequence[frozenset[str]]  # by code
    num_duplicates: int
    moved: Moved | None = None  # where its first rows come from
    earlier_row: Mapping[int, int] = field(default_factory=dict)  # of a pin that was replaced

    def group_name(self, row: int) -> str:
        """The content group of a row; empty = none."""
        return self.group_names[int(self.columns.group_N[row])]

    def rows_of(self, pin_ids: Sequence[str]) -> Ints:
        """Row of each pin, -1 where it is not in this snapshot."""
        return np.fromiter((self._row(pin_id) for pin_id in pin_ids), dtype=np.int64, count=len(pin_ids))

    def _row(self, pin_id: str) -> int:
        row = self.row_of.get(pin_id, -1)
        while row >= self.num_rows:  # replaced since the snapshot was taken
            row = self.earlier_row.get(row, -1)
        return row

    def allowed(self, wanted: PinFilter) -> Bools:
        """Rows that may be returned [N]: live, in the locale's language or in none, within the filter."""
        is_allowed_N = self.columns.is_live_N.copy()
        if wanted.locale:
            language_N = self.columns.language_N
            is_allowed_N &= (language_N == 0) | (language_N == self.language_code.get(language_of(wanted.locale), -1))
        if wanted.excluded_labels:
            is_clean = np.array([not (labels & wanted.excluded_labels) for labels in self.label_sets])
            is_allowed_N &= is_clean[self.columns.label_set_N]
        price_N = self.columns.price_N
        if wanted.min_price > 0:
            is_allowed_N &= (price_N == 0) | (price_N >= np.float32(wanted.min_price))
        if wanted.max_price > 0:
            is_allowed_N &= price_N <= np.float32(wanted.max_price)
        rows = self.rows_of(wanted.excluded_pins)
        is_allowed_N[rows[rows >= 0]] = False
        return is_allowed_N


def language_of(locale: str) -> str:
    """The primary language of a BCP 47 tag: "en-US" -> "en"."""
    return locale.replace("_", "-").split("-", 1)[0].lower()


def empty_columns(num_rows: int, width: int) -> PinColumns:
    """Room for so many rows."""
    return PinColumns(
        content_NW=np.zeros((num_rows, width), dtype=np.float32),
        has_vector_N=np.zeros(num_rows, dtype=np.bool_),
        topic_hash_NT=np.full((num_rows, MAX_TOPICS), -1, dtype=np.int64),
        created_ms_N=np.zeros(num_rows, dtype=np.int64),
        quality_N=np.zeros(num_rows, dtype=np.float32),
        language_N=np.zeros(num_rows, dtype=np.int64),
        group_N=np.zeros(num_rows, dtype=np.int64),
        advertiser_N=np.full(num_rows, -1, dtype=np.int64),
        price_N=np.zeros(num_rows, dtype=np.float32),
        label_set_N=np.zeros(num_rows, dtype=np.int64),
        is_live_N=np.zeros(num_rows, dtype=np.bool_),
    )
