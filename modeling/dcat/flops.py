"""Floating-point operations of each way to score C candidates of one user with L events.

Per block of width d: 24·d² for a row (8 for the four attention matrices, 16 for the inner layers), 4·d for a query and
a key; causal attention does half of the pairs. Shapes: n blocks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One user's request, and the stack that scores it."""

    num_events: int
    num_candidates: int
    width: int
    num_layers: int


def naive(size: Size) -> float:
    """Every candidate appended to the sequence: n·C·(L+1)·(24d² + 2(L+1)d)."""
    length, d = size.num_events + 1, size.width
    return size.num_layers * size.num_candidates * length * (24.0 * d * d + 2.0 * length * d)


def context(size: Size) -> float:
    """(n−1)·L·(24d² + 2Ld) + 4Ld²: the last block gives keys and values only."""
    length, d = size.num_events, size.width
    return (size.num_layers - 1) * length * (24.0 * d * d + 2.0 * length * d) + 4.0 * length * d * d


def crossing(size: Size) -> float:
    """n·C·(24d² + 4(L+1)d)."""
    d = size.width
    return size.num_layers * size.num_candidates * (24.0 * d * d + 4.0 * (size.num_events + 1) * d)


def two_passes(size: Size) -> float:
    """Context and crossing."""
    return context(size) + crossing(size)


def packed(size: Size) -> float:
    """One masked sequence of L + C rows: a mask saves no work; the last block gives the candidates' rows only."""
    length, d = size.num_events + size.num_candidates, size.width
    last = 4.0 * length * d * d + size.num_candidates * (20.0 * d * d + 4.0 * length * d)
    return (size.num_layers - 1) * length * (24.0 * d * d + 4.0 * length * d) + last
