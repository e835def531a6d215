"""Holds what an executor returned against its contract, before the engine builds on it."""

import numpy as np
import pyarrow as pa

from sequences.engine.executor import ExecutorResult
from sequences.engine.plan import PlannedStep


class BadResultError(Exception):
    """An executor returned what its contract forbids."""


def check_result(result: ExecutorResult, planned: PlannedStep, num_rows: int) -> None:
    """Raises: BadResultError unless columns, types, row counts, nulls, masks and failures are as the contract says."""
    _check_columns(result, planned, num_rows)
    for what, mask in (("keep", result.keep), ("missing", result.missing)):
        if mask is not None and (mask.shape != (num_rows,) or mask.dtype != np.bool_):
            raise BadResultError(f"mask {what} has shape {mask.shape} and type {mask.dtype} for {num_rows} rows")
    for row, reason in result.failures.items():
        if not isinstance(row, int | np.integer) or not 0 <= row < num_rows or not isinstance(reason, str):
            raise BadResultError(f"failure {row!r}: {reason!r} is not a row of 0..{num_rows - 1} and a text")
    _check_nulls(result)


def _check_columns(result: ExecutorResult, planned: PlannedStep, num_rows: int) -> None:
    expected = {field.name: field.type for field in planned.step.writes}
    if result.columns.keys() != expected.keys():
        raise BadResultError(f"wrote columns {sorted(result.columns)}, not {sorted(expected)}")
    for name, column in result.columns.items():
        if not isinstance(column, pa.Array):
            raise BadResultError(f"column {name!r} is a {type(column).__name__}, not an Array")
        if column.type != expected[name]:
            raise BadResultError(f"column {name!r} has type {column.type}, not {expected[name]}")
        if len(column) != num_rows:
            raise BadResultError(f"column {name!r} has {len(column)} values for {num_rows} rows")


def _check_nulls(result: ExecutorResult) -> None:
    """Only null may stand where a look-up found nothing: `on_missing` decides what becomes of it."""
    if result.missing is None or not result.missing.any():
        return
    for name, column in result.columns.items():
        if np.any(result.missing & column.is_valid().to_numpy(zero_copy_only=False)):
            raise BadResultError(f"column {name!r} has values in rows that are said to be missing")
