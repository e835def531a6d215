"""Which events of one side are on the other, and how many of them by hour.

Shapes: L and R rows of the sides, M matched events, P, Q events of one side only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.definitions.definition import Frozen

KEY = ("user_id", "event_type", "event_id")
HOUR_MS = 3_600_000
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Matched:
    """Row numbers. An event that a side has several times counts once, as the row enriched last."""

    left_M: Ints
    right_M: Ints
    only_left_P: Ints
    only_right_Q: Ints
    num_repeated_left: int
    num_repeated_right: int


class HourMatch(Frozen):
    """Events accepted in one hour (UTC), of which `num_common` are on both sides."""

    hour_ms: int
    num_left: int
    num_right: int
    num_common: int

    @property
    def rate(self) -> float | None:
        """|A∩B| / |A∪B|; None without events."""
        num_any = self.num_left + self.num_right - self.num_common
        return self.num_common / num_any if num_any else None


def match(left: pa.Table, right: pa.Table) -> Matched:
    """Pairs of rows that are the same event; the sides need KEY and `enriched_time_ms`."""
    codes = _joint_codes(left, right)
    left_L, right_R = codes[: left.num_rows], codes[left.num_rows :]
    last_left = _last_of_each(left_L, left.column("enriched_time_ms").to_numpy())
    last_right = _last_of_each(right_R, right.column("enriched_time_ms").to_numpy())
    unique_left, unique_right = left_L[last_left], right_R[last_right]
    _, at_left, at_right = np.intersect1d(unique_left, unique_right, assume_unique=True, return_indices=True)
    return Matched(
        last_left[at_left],
        last_right[at_right],
        np.sort(last_left[~np.isin(unique_left, unique_right)]),
        np.sort(last_right[~np.isin(unique_right, unique_left)]),
        len(left_L) - len(last_left),
        len(right_R) - len(last_right),
    )


def match_by_hour(
    left_received_ms: Ints, right_received_ms: Ints, matched: Matched, from_ms: int, until_ms: int
) -> list[HourMatch]:
    """Every hour that [from_ms, until_ms) touches, also empty ones. A matched event counts where left has it."""
    first, last = from_ms // HOUR_MS, max(from_ms, until_ms - 1) // HOUR_MS
    num_hours = int(last - first + 1)
    common = _by_hour(left_received_ms[matched.left_M], first, num_hours)
    only_left = _by_hour(left_received_ms[matched.only_left_P], first, num_hours)
    only_right = _by_hour(right_received_ms[matched.only_right_Q], first, num_hours)
    return [
        HourMatch(
            hour_ms=int(first + hour) * HOUR_MS,
            num_left=int(common[hour] + only_left[hour]),
            num_right=int(common[hour] + only_right[hour]),
            num_common=int(common[hour]),
        )
        for hour in range(num_hours)
    ]


def _by_hour(received_ms: Ints, first: int, num_hours: int) -> Ints:
    hours = np.clip(received_ms // HOUR_MS - first, 0, num_hours - 1)
    return np.bincount(hours, minlength=num_hours)


def _last_of_each(codes: Ints, times_ms: Ints) -> Ints:
    """The row of each code with the greatest time; of equal times the later row."""
    order = np.lexsort((np.arange(len(codes)), times_ms, codes))
    ordered = codes[order]
    is_last = np.r_[ordered[1:] != ordered[:-1], True] if len(ordered) else np.zeros(0, np.bool_)
    return order[is_last].astype(np.int64)


def _joint_codes(left: pa.Table, right: pa.Table) -> Ints:
    """[L + R] One number per row, equal for rows of the same event."""
    return joint_codes([(left.column(name), right.column(name)) for name in KEY])


def joint_codes(columns: Sequence[tuple[pa.ChunkedArray, pa.ChunkedArray]]) -> Ints:
    """[L + R] One number per row of both sides, equal where all columns are equal."""
    codes: Ints | None = None
    for left, right in columns:
        texts = pa.chunked_array([*left.cast(pa.string()).chunks, *right.cast(pa.string()).chunks], pa.string())
        encoded = texts.combine_chunks().dictionary_encode(null_encoding="encode")
        found = encoded.indices.to_numpy().astype(np.int64)
        codes = (
            found if codes is None else np.unique(codes * (len(encoded.dictionary) + 1) + found, return_inverse=True)[1]
        )
    return np.zeros(0, np.int64) if codes is None else codes.astype(np.int64)
