"""All live pins in columns: an append segment with tombstones. Dead rows leave by a compaction beside what serves.

Shapes: N rows, W content width, T topics kept per pin.
"""

import threading
from collections import Counter
from dataclasses import replace

import numpy as np

from modeling.arrays import Floats
from modeling.hashing import stable_hash
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_compaction import Compaction
from services.cg.domain.pin_snapshot import Moved, PinColumns, PinSnapshot, empty_columns, language_of
from services.cg.domain.shopping_features import MICROS, advertiser_hash
from services.cg.domain.stored_pins import StoredPins
from services.cg.domain.two_tower_features import MAX_TOPICS

__all__ = ["PinIndex", "PinSnapshot", "language_of"]

START_ROWS = 1_024
MAX_DEAD_SHARE = 0.25  # beyond it a quarter of every search is spent on rows that cannot be returned
MIN_DEAD_ROWS = 1_000  # below it a compaction costs more than it saves
MAX_FILL = 0.8  # beyond it a compaction makes room in the background, so that no upsert has to
SAME_VECTOR = 1e-6  # two unit vectors as near as float32 can tell


class PinIndex:
    """Pins by id. One writer; readers take a `snapshot`, from any thread: they never see half of a change."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._generation = 0
        self._newest_generation = 0  # given to a compaction before it is in use
        self._moved: Moved | None = None
        self._columns = empty_columns(START_ROWS, 0)
        self._width = 0
        self._num_rows = 0
        self._pin_ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self._earlier_row: dict[int, int] = {}
        self._language_code: dict[str, int] = {}
        self._group_code: dict[str, int] = {}
        self._group_names = [""]
        self._label_code: dict[frozenset[str], int] = {frozenset(): 0}
        self._label_sets: list[frozenset[str]] = [frozenset()]
        self._group_size: Counter[int] = Counter()
        self._num_duplicates = 0
        self._snapshot: PinSnapshot | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    def upsert(self, pin: IndexedPin) -> str:
        """Add or replace a pin; the same pin again changes nothing.

        Returns "" or why its vector was refused (the pin is kept without it).
        """
        with self._lock:
            refusal = self._refusal(pin.content_vector)
            if self._num_rows == len(self._columns.is_live_N):
                self._grow()
            self._write(self._num_rows, pin, None if refusal else pin.content_vector)
            if self._is_repeat(pin.pin_id):
                return refusal
            earlier_row = self._row_of.get(pin.pin_id)
            if earlier_row is not None:
                self._earlier_row[self._num_rows] = earlier_row
            self._forget(pin.pin_id)
            self._count_group(int(self._columns.group_N[self._num_rows]), 1)
            self._columns.is_live_N[self._num_rows] = True
            self._pin_ids.append(pin.pin_id)
            self._row_of[pin.pin_id] = self._num_rows
            self._num_rows += 1
            return refusal

    def remove(self, pin_id: str) -> bool:
        """Whether the pin was there."""
        with self._lock:
            is_there = self._forget(pin_id)
            self._row_of.pop(pin_id, None)
            return is_there

    def restore(self, pins: StoredPins) -> None:
        """Fill an empty index at once. Raises: ValueError when it is not empty."""
        if self._num_rows or self._language_code or self._group_code:
            raise ValueError("only an empty index can be restored")
        self._set_width(pins.columns.content_NW.shape[1])
        self._language_code = {name: code for code, name in enumerate(pins.languages, start=1)}
        self._group_code = {name: code for code, name in enumerate(pins.groups, start=1)}
        self._group_names = ["", *pins.groups]
        self._label_sets = [frozenset(labels) for labels in pins.label_sets]
        self._label_code = {labels: code for code, labels in enumerate(self._label_sets)}
        self._pin_ids, self._num_rows = list(pins.pin_ids), len(pins.pin_ids)
        self._row_of = {pin_id: row for row, pin_id in enumerate(pins.pin_ids)}
        self._columns = pins.columns
        self._grow()
        for group in pins.columns.group_N.tolist():
            self._count_group(group, 1)

    def snapshot(self) -> PinSnapshot:
        """The pins as they are now; the same object until something changes."""
        with self._lock:
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
                    self._label_sets,
                    self._num_duplicates,
                    self._moved,
                    self._earlier_row,
                )
            return self._snapshot

    def wants_compaction(self) -> bool:
        """Whether too many rows are dead, or the room is nearly used up."""
        num_dead = self._num_rows - len(self._row_of)
        is_full = self._num_rows > max(START_ROWS, MAX_FILL * len(self._columns.is_live_N))
        return is_full or (num_dead > MIN_DEAD_ROWS and num_dead > MAX_DEAD_SHARE * self._num_rows)

    def begin_compaction(self) -> Compaction:
        """What another thread may carry out while this one goes on; `finish_compaction` takes it over."""
        self._newest_generation += 1
        return Compaction(self.snapshot(), self._newest_generation)

    def finish_compaction(self, compaction: Compaction) -> bool:
        """Use what was compacted, with all that changed since; in time proportional to what changed.

        Returns False when rows meant other vectors by now and the compaction is of no use.
        """
        with self._lock:
            if compaction.old.generation != self._generation:
                return False
            compaction.catch_up(self._columns, self._num_rows, self._pin_ids)
            self._snapshot = None
            self._generation, self._moved = compaction.generation, compaction.moved
            self._columns, self._num_rows = compaction.columns, compaction.num_rows
            self._pin_ids, self._row_of, self._earlier_row = compaction.pin_ids, compaction.row_of, {}
            return True

    def _forget(self, pin_id: str) -> bool:
        """The pin's row is dead from now on; its id leads there until it leads to another one."""
        self._snapshot = None
        row = self._row_of.get(pin_id)
        if row is None:
            return False
        self._columns.is_live_N[row] = False
        self._count_group(int(self._columns.group_N[row]), -1)
        return True

    def _refusal(self, vector: Floats | None) -> str:
        if vector is None:
            return "missing_vector"
        if vector.ndim != 1 or not np.isfinite(vector).all() or not np.any(vector):
            return "vector_not_finite_or_zero"
        if not self._width:
            self._set_width(len(vector))
        return "" if len(vector) == self._width else "vector_width"

    def _is_repeat(self, pin_id: str) -> bool:
        """Whether the pin's row already says what was just written behind the last row."""
        row = self._row_of.get(pin_id)
        return row is not None and self._columns.is_same(row, self._num_rows, SAME_VECTOR)

    def _write(self, row: int, pin: IndexedPin, vector: Floats | None) -> None:
        columns = self._columns
        columns.content_NW[row] = 0.0 if vector is None else vector / np.linalg.norm(vector.astype(np.float64))
        columns.has_vector_N[row] = vector is not None
        topics = [stable_hash(topic) for topic in pin.topics[:MAX_TOPICS]]
        columns.topic_hash_NT[row] = topics + [-1] * (MAX_TOPICS - len(topics))
        columns.created_ms_N[row] = pin.created_time_ms
        columns.quality_N[row] = pin.quality_score if np.isfinite(pin.quality_score) else 0.0
        columns.advertiser_N[row] = advertiser_hash(pin.advertiser_id)
        columns.price_N[row] = max(0, pin.price_micros) / MICROS
        columns.label_set_N[row] = self._label_set(frozenset(pin.safety_labels))
        columns.language_N[row] = _code(self._language_code, language_of(pin.locale))
        columns.group_N[row] = _code(self._group_code, pin.content_group)
        if columns.group_N[row] == len(self._group_names):
            self._group_names.append(pin.content_group)

    def _label_set(self, labels: frozenset[str]) -> int:
        """Its code. The list only grows, and a snapshot refers to no code that came after it."""
        code = self._label_code.setdefault(labels, len(self._label_sets))
        if code == len(self._label_sets):
            self._label_sets.append(labels)
        return code

    def _count_group(self, group: int, change: int) -> None:
        """Live pins beyond the first of each group are the duplicates a search has to make up for."""
        if not group:
            return
        before = self._group_size[group]
        self._group_size[group] = before + change
        self._num_duplicates += max(0, before + change - 1) - max(0, before - 1)

    def _set_width(self, width: int) -> None:
        """The first vector decides; rows get another meaning, so it is another generation."""
        self._width, self._snapshot, self._moved = width, None, None
        self._newest_generation += 1
        self._generation = self._newest_generation
        rows = len(self._columns.is_live_N)
        self._columns = replace(self._columns, content_NW=np.zeros((rows, width), dtype=np.float32))

    def _grow(self) -> None:
        bigger = empty_columns(2 * max(START_ROWS, len(self._columns.is_live_N)), self._width)
        for name in PinColumns.__dataclass_fields__:
            getattr(bigger, name)[: self._num_rows] = getattr(self._columns, name)
        self._columns = bigger


def _code(codes: dict[str, int], name: str) -> int:
    return codes.setdefault(name, len(codes) + 1) if name else 0
