"""How alike two sides' sequences are, user by user.

Shapes: N events over all groups, G groups; a group is one sequence of one user.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.parity.matching import joint_codes

MS_PER_S = 1000.0
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Per group that has an event on either side; `kendall_G` is NaN with fewer than two common events."""

    jaccard_G: Doubles
    kendall_G: Doubles
    lag_s_G: Doubles


def overlap(left: pa.Table, right: pa.Table, since_ms: int) -> Overlap:
    """Sides with `group`, `event_id` and `event_time_ms`, each group in its order, no id twice in a group.

    Lag = newest event time right - left, seconds; an empty side counts as having had its newest event at `since_ms`.
    """
    num_left = left.num_rows
    groups = joint_codes([(left.column("group"), right.column("group"))])
    events = joint_codes([(left.column(name), right.column(name)) for name in ("group", "event_id")])
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    _, at_left, at_right = np.intersect1d(events[:num_left], events[num_left:], assume_unique=True, return_indices=True)
    num_common = np.bincount(groups[at_left], minlength=num_groups)
    num_each = [np.bincount(part, minlength=num_groups) for part in (groups[:num_left], groups[num_left:])]
    newest = [
        _newest(part, side.column("event_time_ms").to_numpy(), num_groups, since_ms)
        for part, side in ((groups[:num_left], left), (groups[num_left:], right))
    ]
    return Overlap(
        num_common / (num_each[0] + num_each[1] - num_common),
        kendall(groups[at_left], at_left.astype(np.int64), at_right.astype(np.int64), num_groups),
        (newest[1] - newest[0]) / MS_PER_S,
    )


def kendall(group_N: Ints, left_N: Ints, right_N: Ints, num_groups: int) -> Doubles:
    """[G] Kendall's tau of two orders of the same events, without ties; NaN with fewer than two events."""
    order = np.lexsort((left_N, group_N))
    group_N, right_N = group_N[order], right_N[order]
    num_events = np.bincount(group_N, minlength=num_groups)
    num_pairs = num_events * (num_events - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1.0 - 2.0 * inversions(group_N, right_N, num_groups) / num_pairs)


def inversions(group_N: Ints, value_N: Ints, num_groups: int) -> Doubles:
    """[G] Pairs of a group whose later element is the smaller one; values of a group are distinct, groups contiguous.

    By bits, from the highest: among elements equal in all higher bits, each 1 before a 0 is such a pair.
    """
    found = np.zeros(num_groups)
    if not len(value_N):
        return found
    prefix = group_N.astype(np.int64)
    for bit in range(int(value_N.max()).bit_length() - 1, -1, -1):
        is_one = (value_N >> bit) & 1
        order = np.argsort(prefix, kind="stable")
        ordered, ones = prefix[order], is_one[order]
        before = np.cumsum(ones) - ones  # ones before each element, over all prefixes
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sizes = np.diff(np.r_[starts, len(ordered)])
        before -= np.repeat(before[starts], sizes)
        found += np.bincount(group_N[order], weights=before * (1 - ones), minlength=num_groups)
        prefix = np.unique(prefix * 2 + is_one, return_inverse=True)[1]
    return found


def _newest(group_N: Ints, time_ms_N: Ints, num_groups: int, since_ms: int) -> Ints:
    newest = np.full(num_groups, since_ms, np.int64)
    np.maximum.at(newest, group_N, time_ms_N)
    return newest
