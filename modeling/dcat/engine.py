"""The two passes of DCAT (PinFM, arXiv 2507.12704): context once per unique user, crossing once per candidate.

Scores are those of appending each candidate to the whole causal sequence (`reference.py`), at a cost that does not
multiply the history by the candidates. The last block needs only keys and values of the history, so its attention and
inner layers are skipped there, which changes nothing.
Shapes: U users, L history positions, N candidates of all users, D width, H heads, E = D / H.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeling.dcat.attention import attend_history_and_self, attend_past
from modeling.dcat.block import Block
from modeling.dcat.context import Context
from modeling.dcat.cost import DEFAULT, CostModel
from modeling.dcat.flops import Size
from modeling.dcat.packed import score_packed
from modeling.dcat.pieces import cut


@dataclass(frozen=True)
class DcatSettings:
    """What the stack is rebuilt from."""

    width: int
    num_layers: int
    num_heads: int
    dropout: float = 0.0
    has_recency: bool = False

    @property
    def slopes(self) -> tuple[float, ...]:
        """How much a score falls with each step back, per head: those of ALiBi (Press et al. 2022), or none."""
        if not self.has_recency:
            return ()
        return tuple(2.0 ** (-8.0 * head / self.num_heads) for head in range(1, self.num_heads + 1))


class Dcat(nn.Module):
    """A stack of blocks over embedded events and embedded candidates; positions are the caller's to add."""

    def __init__(self, settings: DcatSettings, cost: CostModel = DEFAULT) -> None:
        super().__init__()
        if settings.num_layers < 1:
            raise ValueError(f"num_layers is {settings.num_layers}, at least one is needed")
        self.settings, self.cost = settings, cost
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.num_heads, settings.dropout) for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, history_ULD: Tensor, length_U: Tensor, candidates_ND: Tensor, user_index_N: Tensor) -> Tensor:
        """[N, D], in the order of the candidates, by whichever way is predicted to be faster; contexts are not kept.

        Raises: ValueError as `context` and `cross` do.
        """
        num_users, length = history_ULD.shape[:2]
        per_user = -(-len(candidates_ND) // max(1, num_users))
        size = Size(length, per_user, self.settings.width, self.settings.num_layers)
        if self.cost.prefers_packed(size, num_users):
            return self.score_packed(history_ULD, length_U, candidates_ND, user_index_N)
        return self.cross(candidates_ND, user_index_N, [self.context(history_ULD, length_U)])

    def score_packed(
        self, history_ULD: Tensor, length_U: Tensor, candidates_ND: Tensor, user_index_N: Tensor
    ) -> Tensor:
        """What `forward` gives, as one masked sequence per user. Raises: ValueError as `context` and `cross` do."""
        _check_lengths(history_ULD, length_U)
        if not len(candidates_ND):
            return candidates_ND
        rows = _sort(candidates_ND, user_index_N, len(length_U))
        out_ND = score_packed(
            self.stack, history_ULD, length_U, rows.sorted_ND, rows.counts, slopes=self.settings.slopes
        )
        return rows.restore(torch.as_tensor(self.norm(out_ND)))

    def context(self, history_ULD: Tensor, length_U: Tensor) -> Context:
        """Keys and values of every block. Row u holds `length_U[u]` events, oldest first, then padding of any finite
        content (`left_aligned` makes it so). Raises: ValueError when a length is not within 0..L."""
        _check_lengths(history_ULD, length_U)
        rows, keys, values = history_ULD, [], []
        for number, block in enumerate(self.stack, start=1):
            normed = block.attention_norm(rows)
            key, value = (part.transpose(1, 2) for part in block.keys_values(normed))
            keys.append(key)
            values.append(value)
            if number < len(self.stack) and history_ULD.shape[1]:
                rows = self._read_past(block, rows, normed, (key, value))
        return Context(tuple(keys), tuple(values), length_U, self.settings.slopes)

    def states(self, history_ULD: Tensor) -> Tensor:
        """[U, L, D]: what each event is after all blocks, given those before it; for training on what comes next.

        The state of the newest event alone comes from `cross` over `Context.before_newest`. Padding, at the end of a
        row, gives states that mean nothing.
        """
        rows = history_ULD
        for block in self.stack:
            normed = block.attention_norm(rows)
            key, value = (part.transpose(1, 2) for part in block.keys_values(normed))
            rows = self._read_past(block, rows, normed, (key, value))
        return torch.as_tensor(self.norm(rows))

    def _read_past(self, block: Block, rows: Tensor, normed: Tensor, own: tuple[Tensor, Tensor]) -> Tensor:
        query = block.queries(normed).transpose(1, 2)
        # Padding comes after all events, so the causal mask alone hides it from them.
        return block.finish(rows, attend_past(query, *own, self.settings.slopes).transpose(1, 2))

    def cross(self, candidates_ND: Tensor, user_index_N: Tensor, contexts: Sequence[Context]) -> Tensor:
        """[N, D] for embedded candidates; `user_index_N` counts users through all `contexts`, in their order.

        Raises: ValueError when an index names no user.
        """
        if not len(candidates_ND):
            return candidates_ND
        rows = _sort(candidates_ND, user_index_N, sum(context.num_users for context in contexts))
        pieces, rows_ND = cut(contexts, rows.counts), rows.sorted_ND
        for layer, block in enumerate(self.stack):
            normed_ND = block.attention_norm(rows_ND)
            query_NHE = block.queries(normed_ND)
            key_NHE, value_NHE = block.keys_values(normed_ND)
            seen = []
            for piece in pieces:
                query, key, value = (piece.heads_first(each) for each in (query_NHE, key_NHE, value_NHE))
                history = piece.context.keys[layer], piece.context.values[layer]
                seen.append(piece.rows(attend_history_and_self(query, (key, value), history, piece.context.bias)))
            rows_ND = block.finish(rows_ND, seen[0] if len(seen) == 1 else torch.cat(seen))
        return rows.restore(torch.as_tensor(self.norm(rows_ND)))

    @property
    def stack(self) -> list[Block]:
        """The blocks, typed."""
        return [block for block in self.blocks if isinstance(block, Block)]


@dataclass(frozen=True)
class _Sorted:
    """Candidates by user, how many each user has, and the way back."""

    sorted_ND: Tensor
    counts: list[int]
    order_N: Tensor | None  # None = they were sorted already

    def restore(self, rows_ND: Tensor) -> Tensor:
        return rows_ND if self.order_N is None else rows_ND[torch.argsort(self.order_N)]


def _sort(candidates_ND: Tensor, user_index_N: Tensor, num_users: int) -> _Sorted:
    if len(user_index_N) != len(candidates_ND):
        raise ValueError(f"{len(candidates_ND)} candidates have {len(user_index_N)} user indices")
    if int(user_index_N.min()) < 0 or int(user_index_N.max()) >= num_users:
        raise ValueError(f"user_index_N names a user outside 0..{num_users - 1}")
    counts = torch.bincount(user_index_N, minlength=num_users).tolist()
    if bool((user_index_N[1:] >= user_index_N[:-1]).all()):
        return _Sorted(candidates_ND, counts, None)
    order_N = torch.argsort(user_index_N, stable=True)
    return _Sorted(candidates_ND[order_N], counts, order_N)


def _check_lengths(history_ULD: Tensor, length_U: Tensor) -> None:
    size = history_ULD.shape[1]
    if len(length_U) != len(history_ULD) or bool(((length_U < 0) | (length_U > size)).any()):
        raise ValueError(f"length_U {length_U.tolist()} does not fit histories of shape {list(history_ULD.shape)}")


def left_aligned(rows_ULD: Tensor, is_real_UL: Tensor) -> tuple[Tensor, Tensor]:
    """Events moved to the start of their row in their order, padding after them as zeros; and how many there are."""
    order_UL = torch.argsort(~is_real_UL, dim=1, stable=True)
    length_U = is_real_UL.sum(dim=1)
    moved_ULD = torch.take_along_dim(rows_ULD * is_real_UL[..., None], order_UL[..., None], dim=1)
    return moved_ULD, length_U
