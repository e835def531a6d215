"""All live pins in columns: an append segment with tombstones, compacted when too many rows are dead.

Shapes: N rows, W content width, T topics kept per pin.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from modeling.hashing import stable_hash
from services.cg.domain.pin import IndexedPin
from services.cg.domain.two_tower_features import MAX_TOPICS

START_ROWS = 1_024
MAX_DEAD_SHARE = 0.25  # beyond it a quarter of every search is spent on rows that cannot be returned
MIN_DEAD_ROWS = 1_000  # below it a compaction costs more than it saves


@dataclass(frozen=True)
class PinColumns:
    """Parallel arrays. A code is a row of the index's own list of names; 0 = no name."""

    content_NW: Floats
    topic_hash_NT: Ints
    created_ms_N: Ints
    quality_N: Floats
    language_N: Ints
    group_N: Ints
    is_live_N: Bools

    def cut(self, num_rows: int) -> "PinColumns":
        """Views of the first rows; whether a row is live is copied, as it is the one column that changes."""
        columns = {name: getattr(self, name)[:num_rows] for name in self.__dataclass_fields__}
        return replace(self, **{**columns, "is_live_N": columns["is_live_N"].copy()})


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
    num_duplicates: int

    def group_name(self, row: int) -> str:
        """The content group of a row; empty = none."""
        return self.group_names[int(self.columns.group_N[row])]

    def rows_of(self, pin_ids: Sequence[str]) -> Ints:
        """Row of each pin, -1 where it is not in this snapshot."""
        rows = np.fromiter((self.row_of.get(pin_id, -1) for pin_id in pin_ids), dtype=np.int64, count=len(pin_ids))
        return np.where(rows < self.num_rows, rows, -1)

    def allowed(self, locale: str, excluded: Sequence[str]) -> Bools:
        """Rows that may be returned [N]: live, in the locale's language or in none, not excluded."""
        is_allowed_N = self.columns.is_live_N.copy()
        if locale:
            language_N = self.columns.language_N
            is_allowed_N &= (language_N == 0) | (language_N == self.language_code.get(language_of(locale), -1))
        rows = self.rows_of(excluded)
        is_allowed_N[rows[rows >= 0]] = False
        return is_allowed_N


def language_of(locale: str) -> str:
    """The primary language of a BCP 47 tag: "en-US" -> "en"."""
    return locale.replace("_", "-").split("-", 1)[0].lower()


class PinIndex:
    """Pins by id. One writer; readers take a `snapshot`."""

    def __init__(self) -> None:
        self._generation = 0
        self._reset(START_ROWS, 0)
        self._language_code: dict[str, int] = {}
        self._group_code: dict[str, int] = {}
        self._group_names = [""]
        self._group_size: Counter[int] = Counter()
        self._num_duplicates = 0
        self._snapshot: PinSnapshot | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    def upsert(self, pin: IndexedPin) -> str:
        """Add or replace a pin. Returns "" or why its vector was refused (the pin is kept without it)."""
        self.remove(pin.pin_id)
        refusal = self._refusal(pin.content_vector)
        if self._num_rows == len(self._columns.is_live_N):
            self._grow()
        self._write(self._num_rows, pin, None if refusal else pin.content_vector)
        self._pin_ids.append(pin.pin_id)
        self._row_of[pin.pin_id] = self._num_rows
        self._num_rows += 1
        return refusal

    def remove(self, pin_id: str) -> bool:
        """Whether the pin was there."""
        self._snapshot = None
        row = self._row_of.pop(pin_id, None)
        if row is None:
            return False
        self._columns.is_live_N[row] = False
        self._count_group(int(self._columns.group_N[row]), -1)
        num_dead = self._num_rows - len(self._row_of)
        if num_dead > MIN_DEAD_ROWS and num_dead > MAX_DEAD_SHARE * self._num_rows:
            self._compact()
        return True

    def snapshot(self) -> PinSnapshot:
        """The pins as they are now; the same object until something changes."""
        if self._snapshot is None:
            columns = self._columns.cut(self._num_rows)
            self._snapshot = PinSnapshot(
                self._generation,
                self._num_rows,
                self._pin_ids,
                self._row_of,
                columns,
                self._language_code,
                self._group_names,
                self._num_duplicates,
            )
        return self._snapshot

    def _refusal(self, vector: Floats | None) -> str:
        if vector is None:
            return "missing_vector"
        if not np.isfinite(vector).all() or not np.any(vector):
            return "vector_not_finite_or_zero"
        if not self._width:
            self._set_width(len(vector))
        return "" if len(vector) == self._width else "vector_width"

    def _write(self, row: int, pin: IndexedPin, vector: Floats | None) -> None:
        columns = self._columns
        columns.content_NW[row] = 0.0 if vector is None else vector / np.linalg.norm(vector)
        topics = [stable_hash(topic) for topic in pin.topics[:MAX_TOPICS]]
        columns.topic_hash_NT[row] = topics + [-1] * (MAX_TOPICS - len(topics))
        columns.created_ms_N[row] = pin.created_time_ms
        columns.quality_N[row] = pin.quality_score if np.isfinite(pin.quality_score) else 0.0
        columns.language_N[row] = _code(self._language_code, language_of(pin.locale))
        columns.group_N[row] = _code(self._group_code, pin.content_group)
        if columns.group_N[row] == len(self._group_names):
            self._group_names.append(pin.content_group)
        self._count_group(int(columns.group_N[row]), 1)
        columns.is_live_N[row] = True

    def _count_group(self, group: int, change: int) -> None:
        """Live pins beyond the first of each group are the duplicates a search has to make up for."""
        if not group:
            return
        before = self._group_size[group]
        self._group_size[group] = before + change
        self._num_duplicates += max(0, before + change - 1) - max(0, before - 1)

    def _reset(self, num_rows: int, width: int) -> None:
        self._columns = _empty(num_rows, width)
        self._width = width
        self._num_rows = 0
        self._pin_ids: list[str] = []
        self._row_of: dict[str, int] = {}

    def _set_width(self, width: int) -> None:
        self._width = width
        self._generation += 1
        rows = len(self._columns.is_live_N)
        self._columns = replace(self._columns, content_NW=np.zeros((rows, width), dtype=np.float32))

    def _grow(self) -> None:
        bigger = _empty(2 * len(self._columns.is_live_N), self._width)
        for name in bigger.__dataclass_fields__:
            getattr(bigger, name)[: self._num_rows] = getattr(self._columns, name)
        self._columns = bigger

    def _compact(self) -> None:
        old, rows = self._columns, np.fromiter(self._row_of.values(), dtype=np.int64)
        pin_ids = list(self._row_of)
        self._generation += 1
        self._reset(max(START_ROWS, 2 * len(rows)), self._width)
        for name in old.__dataclass_fields__:
            getattr(self._columns, name)[: len(rows)] = getattr(old, name)[rows]
        self._num_rows = len(rows)
        self._pin_ids = pin_ids
        self._row_of = {pin_id: row for row, pin_id in enumerate(pin_ids)}


def _empty(num_rows: int, width: int) -> PinColumns:
    return PinColumns(
        content_NW=np.zeros((num_rows, width), dtype=np.float32),
        topic_hash_NT=np.full((num_rows, MAX_TOPICS), -1, dtype=np.int64),
        created_ms_N=np.zeros(num_rows, dtype=np.int64),
        quality_N=np.zeros(num_rows, dtype=np.float32),
        language_N=np.zeros(num_rows, dtype=np.int64),
        group_N=np.zeros(num_rows, dtype=np.int64),
        is_live_N=np.zeros(num_rows, dtype=np.bool_),
    )


def _code(codes: dict[str, int], name: str) -> int:
    return codes.setdefault(name, len(codes) + 1) if name else 0
