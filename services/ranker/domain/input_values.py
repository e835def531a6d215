"""Numbers of a request before a model sees them: what the model's types and tables cannot hold takes its default."""

from collections.abc import Mapping

import numpy as np

from modeling.arrays import AnyArray, Bools
from services.ranker.domain.features import EVENT_TYPES, FEATURES

INT64_LIMIT = 2.0**63


def within_range(given: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], int]:
    """The known inputs, and how many whole numbers were replaced by the default of their feature.

    A fraction beyond float32 becomes infinite, which `prepare` replaces and counts.
    """
    values: dict[str, AnyArray] = {}
    num_replaced = 0
    for name, value in given.items():
        spec = FEATURES.get(name)
        if spec is None:
            continue
        if spec.dtype is not np.int64:
            with np.errstate(over="ignore"):
                values[name] = value.astype(spec.dtype, copy=False)
            continue
        is_bad = _is_out_of_range(name, value)
        num_replaced += int(is_bad.sum())
        values[name] = np.where(is_bad, np.asarray(spec.default, value.dtype), value).astype(np.int64)
    return values, num_replaced


def _is_out_of_range(name: str, value: AnyArray) -> Bools:
    """Not a whole number of 64 bits; for the type of an event, no row of the model's table either."""
    is_bad = np.zeros(value.shape, np.bool_)
    if np.issubdtype(value.dtype, np.floating):
        is_bad = ~(np.abs(value) < INT64_LIMIT)  # of a NaN, too
    if name == "history_event_type":
        is_bad |= ~(np.greater_equal(value, 0) & np.less_equal(value, len(EVENT_TYPES)))
    return is_bad
