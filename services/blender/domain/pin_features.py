"""What the slate step needs to know about pins, as columns.

Shapes: R rows, one per known pin; D dimensions of a content vector.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
T = TypeVar("T")


class PinRow(NamedTuple):
    """One pin."""

    pin_id: str
    vector_D: Vectors
    topic: str
    creator: str
    advertiser: str
    content_group: str
    is_labelled: bool
    quality: float
    semantic_id: Sequence[int] = ()


@dataclass(frozen=True)
class PinFeatures:
    """Rows of known pins. A pin without a vector has a row of zeros; absent texts are empty."""

    pin_ids: Sequence[str]
    vectors_RD: Vectors
    topics: Sequence[str]  # the first topic of each
    creators: Sequence[str]
    advertisers: Sequence[str]
    content_groups: Sequence[str]
    is_labelled_R: NDArray[np.bool_]  # has any safety label
    quality_R: NDArray[np.float64]  # [0, 1]; 1 where unknown
    semantic_ids: Sequence[Sequence[int]] = ()  # codes from coarse to fine; none at all = none are known
    row_by_pin: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_by_pin", {pin_id: row for row, pin_id in enumerate(self.pin_ids)})

    def rows(self) -> Iterable[PinRow]:
        """Every pin; vectors are views."""
        return map(
            PinRow,
            self.pin_ids,
            self.vectors_RD,
            self.topics,
            self.creators,
            self.advertisers,
            self.content_groups,
            self.is_labelled_R.tolist(),
            self.quality_R.tolist(),
            self.semantic_ids or [()] * len(self.pin_ids),
        )

    def rows_of(self, pin_ids: Sequence[str]) -> NDArray[np.intp]:
        """Row of each pin; -1 where unknown."""
        return np.array([self.row_by_pin.get(pin_id, -1) for pin_id in pin_ids], dtype=np.intp)

    def vectors_of(self, pin_ids: Sequence[str]) -> Vectors:
        """`[len(pin_ids), D]`, zeros where unknown."""
        rows = self.rows_of(pin_ids)
        found: Vectors = np.zeros((len(rows), self.vectors_RD.shape[1]), dtype=np.float32)
        is_known = rows >= 0
        found[is_known] = self.vectors_RD[rows[is_known]]
        return found

    def topic_of(self, pin_id: str) -> str:
        """First topic; empty when unknown."""
        row = self.row_by_pin.get(pin_id, -1)
        return self.topics[row] if row >= 0 else ""

    def select(self, pin_ids: Iterable[str]) -> "PinFeatures":
        """The rows of these pins, in this order, without the unknown ones."""
        return self.take([self.row_by_pin[pin_id] for pin_id in pin_ids if pin_id in self.row_by_pin])

    def take(self, rows: Sequence[int]) -> "PinFeatures":
        """These rows, in this order."""
        wanted = list(rows)
        return PinFeatures(
            [self.pin_ids[row] for row in wanted],
            self.vectors_RD[wanted],
            [self.topics[row] for row in wanted],
            [self.creators[row] for row in wanted],
            [self.advertisers[row] for row in wanted],
            [self.content_groups[row] for row in wanted],
            self.is_labelled_R[wanted],
            self.quality_R[wanted],
            [self.semantic_ids[row] for row in wanted] if self.semantic_ids else (),
        )


def from_rows(rows: Sequence[PinRow]) -> PinFeatures:
    """Columns of these rows; a vector of another width than the first one's counts as absent."""
    width = max(1, len(rows[0].vector_D)) if rows else 1
    absent: Vectors = np.zeros(width, dtype=np.float32)
    vectors = [row.vector_D if len(row.vector_D) == width else absent for row in rows]
    return PinFeatures(
        [row.pin_id for row in rows],
        np.stack(vectors).astype(np.float32, copy=False) if rows else np.zeros((0, 1), dtype=np.float32),
        [row.topic for row in rows],
        [row.creator for row in rows],
        [row.advertiser for row in rows],
        [row.content_group for row in rows],
        np.array([row.is_labelled for row in rows], dtype=np.bool_),
        np.array([row.quality for row in rows], dtype=np.float64),
        [row.semantic_id for row in rows] if any(row.semantic_id for row in rows) else (),
    )


def join(parts: Sequence[PinFeatures]) -> PinFeatures:
    """Rows of all parts; of a pin that comes twice the first row counts. Vectors of a width that is not the first
    part's count as absent."""
    filled = [part for part in parts if len(part.pin_ids)]
    if len(filled) <= 1:
        return filled[0] if filled else no_features()
    joined = _stacked(filled)
    if len(joined.row_by_pin) == len(joined.pin_ids):
        return joined
    first_row = {pin_id: row for row, pin_id in reversed(list(enumerate(joined.pin_ids)))}
    return joined.take(sorted(first_row.values()))


def _stacked(parts: Sequence[PinFeatures]) -> PinFeatures:
    width = parts[0].vectors_RD.shape[1]
    has_codes = any(part.semantic_ids for part in parts)
    return PinFeatures(
        _chained(part.pin_ids for part in parts),
        np.concatenate([_of_width(part.vectors_RD, width) for part in parts]),
        _chained(part.topics for part in parts),
        _chained(part.creators for part in parts),
        _chained(part.advertisers for part in parts),
        _chained(part.content_groups for part in parts),
        np.concatenate([part.is_labelled_R for part in parts]),
        np.concatenate([part.quality_R for part in parts]),
        _chained(part.semantic_ids or [()] * len(part.pin_ids) for part in parts) if has_codes else (),
    )


def _chained(columns: Iterable[Sequence[T]]) -> list[T]:
    return list(itertools.chain.from_iterable(columns))


def _of_width(vectors_RD: Vectors, width: int) -> Vectors:
    if vectors_RD.shape[1] == width:
        return vectors_RD
    return np.zeros((len(vectors_RD), width), dtype=np.float32)


def no_features() -> PinFeatures:
    """Nothing is known about any pin."""
    return from_rows([])
