"""Ragged candidates as rectangles: which rows of a batch attend to which keys in one call.

Shapes: U users, N candidates of all users, n those of one piece, C candidates of one user.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeling.dcat.context import Context

MAX_PADDING_RATIO = 2.0  # above it, a call per user costs less than the padding


@dataclass(frozen=True)
class Rectangle:
    """Rows sorted by user as one row of C places per user, and back."""

    num_users: int
    size: int  # C
    slot_n: Tensor | None  # place of each row in [U · C]; None = every place is taken

    def fold(self, rows_n: Tensor) -> Tensor:
        """[n, ...] -> [U, C, ...]; free places are zeros."""
        if self.slot_n is not None:
            blank = rows_n.new_zeros(self.num_users * self.size, *rows_n.shape[1:])
            rows_n = blank.index_copy(0, self.slot_n, rows_n)
        return rows_n.reshape(self.num_users, self.size, *rows_n.shape[1:])

    def unfold(self, rows_UC: Tensor) -> Tensor:
        """The inverse: [U, C, ...] -> [n, ...]."""
        rows_n = rows_UC.flatten(0, 1)
        return rows_n if self.slot_n is None else rows_n[self.slot_n]


def rectangle(counts: Sequence[int], device: torch.device) -> Rectangle:
    """The rectangle of users with so many candidates each."""
    size = max(counts, default=0)
    if min(counts, default=0) == size:
        return Rectangle(len(counts), size, None)
    is_taken_UC = torch.arange(size, device=device) < torch.tensor(counts, device=device)[:, None]
    return Rectangle(len(counts), size, is_taken_UC.flatten().nonzero().squeeze(1))


@dataclass(frozen=True)
class Piece:
    """Sorted candidates [start, stop), which belong to the users of one context, in order."""

    context: Context
    start: int
    stop: int
    place: Rectangle

    def heads_first(self, rows_NHE: Tensor) -> Tensor:
        """[N, H, E] of the whole batch -> [U, H, C, E] of this piece."""
        return self.place.fold(rows_NHE[self.start : self.stop]).transpose(1, 2)

    def rows(self, rectangle_UHCE: Tensor) -> Tensor:
        """[U, H, C, E] of this piece -> [n, H, E]."""
        return self.place.unfold(rectangle_UHCE.transpose(1, 2))


def cut(contexts: Sequence[Context], counts: Sequence[int]) -> list[Piece]:
    """Pieces that cover every candidate once, given the number of candidates of each user."""
    pieces: list[Piece] = []
    start = first = 0
    for context in contexts:
        own = counts[first : first + context.num_users]
        if max(own, default=0) * len(own) <= MAX_PADDING_RATIO * sum(own):
            pieces += _piece(context, start, own)
        else:
            pieces += _by_user(context, start, own)
        start, first = start + sum(own), first + len(own)
    return pieces


def _by_user(context: Context, start: int, counts: Sequence[int]) -> Iterator[Piece]:
    for user, count in enumerate(counts):
        yield from _piece(context.of_user(user), start, [count])
        start += count


def _piece(context: Context, start: int, counts: Sequence[int]) -> Iterator[Piece]:
    if sum(counts):
        yield Piece(context, start, start + sum(counts), rectangle(counts, context.keys[0].device))
