"""Per column, on how many matched events both sides say the same.

Shapes: M matched events.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sequences.definitions.definition import Frozen

RELATIVE_TOLERANCE = 1e-5  # float32 carries 7 digits; another order of additions costs one or two of them
ABSOLUTE_TOLERANCE = 1e-6
MIN_COSINE = 0.999
PROVENANCE = ("definitions_version", "enriched_time_ms")
"""Columns that tell of the run and not of the event; they differ by nature."""

Kind = Literal["equal", "tolerance", "cosine", "type changed", "only in old", "only in new"]
Bools = NDArray[np.bool_]
_Rule = Callable[[pa.Array, pa.Array, NDArray[np.int64], int], Bools]


class FieldAgreement(Frozen):
    """One column. Two nulls agree, a null and a value do not. `num_values` are rows where either side has a value."""

    column: str
    kind: Kind
    num_compared: int
    num_equal: int
    num_values: int

    @property
    def ratio(self) -> float | None:
        """None when there is nothing to compare: no matched events, or a column that only the new side has."""
        return None if not self.num_compared or self.kind == "only in new" else self.num_equal / self.num_compared


@dataclass(frozen=True)
class _Sides:
    left: pa.Array
    right: pa.Array


def field_agreement(left: pa.Table, right: pa.Table) -> list[FieldAgreement]:
    """Every column of either side but PROVENANCE, by name; row m of both tables is the same event."""
    names = sorted((set(left.column_names) | set(right.column_names)) - set(PROVENANCE))
    return [_column(name, left, right) for name in names]


def _column(name: str, left: pa.Table, right: pa.Table) -> FieldAgreement:
    num_rows = left.num_rows
    if name not in left.column_names or name not in right.column_names:
        side, kind = (right, "only in new") if name in right.column_names else (left, "only in old")
        num_nulls = side.column(name).null_count  # to readers, a column that is not there is null
        return FieldAgreement(
            column=name, kind=kind, num_compared=num_rows, num_equal=num_nulls, num_values=num_rows - num_nulls
        )
    sides = _Sides(_one(left, name), _one(right, name))
    kind, is_equal = _compared(sides)
    is_null = _is_null(sides.left), _is_null(sides.right)
    is_equal = np.where(is_null[0] | is_null[1], is_null[0] & is_null[1], is_equal)
    num_values = int(np.count_nonzero(~(is_null[0] & is_null[1])))
    return FieldAgreement(
        column=name, kind=kind, num_compared=num_rows, num_equal=int(is_equal.sum()), num_values=num_values
    )


def _compared(sides: _Sides) -> tuple[Kind, Bools]:
    left, right = sides.left.type, sides.right.type
    if _is_number(left) and _is_number(right):
        if pa.types.is_floating(left) or pa.types.is_floating(right):
            return "tolerance", _close(_doubles(sides.left), _doubles(sides.right))
        return "equal", _equal(sides.left.cast(pa.int64()), sides.right.cast(pa.int64()))
    if left != right:
        return "type changed", np.zeros(len(sides.left), np.bool_)
    if pa.types.is_list(left):
        if pa.types.is_floating(left.value_type):
            return "cosine", _lists(sides, _cosine_ok)
        return "equal", _lists(sides, _same_elements)
    return "equal", _equal(sides.left, sides.right)


def _lists(sides: _Sides, rule: _Rule) -> Bools:
    """[M] The rule where both rows have lists of one length; False elsewhere."""
    lengths = [pc.fill_null(pc.list_value_length(side), -1).to_numpy() for side in (sides.left, sides.right)]
    places = np.flatnonzero((lengths[0] == lengths[1]) & (lengths[0] >= 0))
    is_equal = np.zeros(len(sides.left), np.bool_)
    if len(places):
        taken = [side.take(pa.array(places)).flatten() for side in (sides.left, sides.right)]
        sizes = lengths[0][places].astype(np.int64)
        is_equal[places] = rule(taken[0], taken[1], np.repeat(np.arange(len(places)), sizes), len(places))
    return is_equal


def _same_elements(left: pa.Array, right: pa.Array, row: NDArray[np.int64], num_rows: int) -> Bools:
    """[num_rows] All elements equal; two nulls are."""
    is_null = _is_null(left), _is_null(right)
    is_equal = np.where(is_null[0] | is_null[1], is_null[0] & is_null[1], _equal(left, right))
    return np.asarray(np.bincount(row[~is_equal], minlength=num_rows) == 0)


def _cosine_ok(left: pa.Array, right: pa.Array, row: NDArray[np.int64], num_rows: int) -> Bools:
    """[num_rows] Cosine of at least MIN_COSINE, or both vectors zero or empty. A vector with a NaN agrees with none."""
    a, b = _doubles(left), _doubles(right)
    dots = [np.bincount(row, weights=x, minlength=num_rows) for x in (a * b, a * a, b * b)]
    norm = np.sqrt(dots[1] * dots[2])
    is_zero = (dots[1] == 0) & (dots[2] == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(is_zero | (dots[0] / norm >= MIN_COSINE))


def _close(left: NDArray[np.float64], right: NDArray[np.float64]) -> Bools:
    return np.isclose(left, right, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True)


def _equal(left: pa.Array, right: pa.Array) -> Bools:
    return np.asarray(pc.fill_null(pc.equal(left, right), False).to_numpy(zero_copy_only=False), np.bool_)


def _is_null(column: pa.Array) -> Bools:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), np.bool_)


def _doubles(column: pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _one(table: pa.Table, name: str) -> pa.Array:
    """The column in one piece, in plain types: a lake gives large strings and lists for small ones."""
    column = table.column(name).combine_chunks()
    found = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return found.cast(_plain(found.type))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind
