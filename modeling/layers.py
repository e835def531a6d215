"""Small torch layers that towers and rankers are made of.

Shapes: B rows, L history positions, C candidates, D width, T sub-tables.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

HASH_PRIMES = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263)  # odd, so distinct names part in each table


class Mlp(nn.Module):
    """Linear layers with layer norm and GELU between them; layer norm because sorted batches upset batch norm."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
            if index:
                layers += [nn.LayerNorm(width_in), nn.GELU()]
            layers.append(nn.Linear(width_in, width_out))
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., widths[0]] -> [..., widths[-1]]."""
        return torch.as_tensor(self.layers(rows))


class HashedEmbedding(nn.Module):
    """Ids through several small tables, concatenated: two ids collide only if they collide in every table."""

    def __init__(self, num_rows: int, width: int, num_tables: int = 2) -> None:
        super().__init__()
        if width % num_tables or num_tables > len(HASH_PRIMES):
            raise ValueError(f"width {width} cannot be shared by {num_tables} tables")
        self.num_rows = num_rows
        tables = [nn.Embedding(num_rows, width // num_tables) for _ in range(num_tables)]
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)
        self.tables = nn.ModuleList(tables)

    def forward(self, hashes: Tensor) -> Tensor:
        """int64 hashes [...] -> [..., D]."""
        parts = [
            table(((hashes * prime) >> 16).remainder(self.num_rows))
            for table, prime in zip(self.tables, HASH_PRIMES, strict=False)
        ]
        return torch.cat(parts, dim=-1)


class AttentionPool(nn.Module):
    """One learned query over a history: softmax of a score per position, padded positions weigh 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, rows_BLD: Tensor, is_real_BL: Tensor, bias_BL: Tensor) -> Tensor:
        """Weighted mean [B, D]; a row without any real position gives zeros."""
        logits_BL = self.score(rows_BLD).squeeze(-1) + bias_BL
        logits_BL = logits_BL.masked_fill(~is_real_BL, torch.finfo(logits_BL.dtype).min)
        weights_BL = torch.softmax(logits_BL, dim=-1) * is_real_BL
        return (weights_BL[:, :, None] * rows_BLD).sum(dim=1)  # faster on CPUs than a batch of tiny products


class CandidateAttention(nn.Module):
    """Each candidate attends to the whole history, never to another candidate.

    The keys and values of a history are made once per user and reused by every candidate; the first step towards the
    deduplicated cross-attention of PinFM (arXiv 2507.12704), with one layer and no self-attention inside the history.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def context(self, history_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the histories, each [B, heads, L, D / heads]."""
        return self._split(self.key(history_BLD)), self._split(self.value(history_BLD))

    def forward(self, candidates_BCD: Tensor, context: tuple[Tensor, Tensor], bias_BL: Tensor) -> Tensor:
        """[B, C, D]; `bias_BL` is added to every score (recency, or -inf where there is no event)."""
        keys, values = context
        mask = bias_BL[:, None, None, :].expand(-1, self.num_heads, candidates_BCD.shape[1], -1)
        queries = self._split(self.query(candidates_BCD))
        heads = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return torch.as_tensor(self.out(heads.transpose(1, 2).flatten(2)))

    def _split(self, rows: Tensor) -> Tensor:
        return rows.reshape(*rows.shape[:-1], self.num_heads, -1).transpose(1, 2)
