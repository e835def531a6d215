"""Models that the ranker has to beat, on the same inputs, requests and loss.

Shapes: B requests, L history events, C candidates, D width, F dense features, H heads.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from modeling.layers import HashedEmbedding, Mlp
from modeling.transformer import HistoryTransformer
from services.ranker.domain.features import HEADS, NO_SCORE, score_name

WIDTH = 48
HASH_ROWS = 8_192
GENERATORS = ("co_engaged", "popular")
NUM_DENSE = 2 + 2 * len(GENERATORS)


class LogisticRegression(nn.Module):
    """A weight per number: age, price and what retrieval says."""

    def __init__(self, content_width: int) -> None:  # noqa: ARG002 - every baseline is made alike
        super().__init__()
        self.norm = nn.BatchNorm1d(NUM_DENSE, affine=False)
        self.weights = nn.Linear(NUM_DENSE, len(HEADS))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, C, H]."""
        return torch.as_tensor(self.weights(_normed(self.norm, dense(inputs))))


class DeepFm(nn.Module):
    """Guo et al. 2017: products of all pairs of fields beside an MLP of them; a history is the mean of its pins."""

    def __init__(self, content_width: int) -> None:
        super().__init__()
        self.pin, self.content = HashedEmbedding(HASH_ROWS, WIDTH), nn.Linear(content_width, WIDTH, bias=False)
        self.norm = nn.BatchNorm1d(NUM_DENSE, affine=False)
        self.as_field = nn.Linear(NUM_DENSE, WIDTH)
        self.first_order = nn.Linear(NUM_DENSE + WIDTH, len(HEADS))
        self.second_order = nn.Linear(WIDTH, len(HEADS))
        self.deep = Mlp(5 * WIDTH, 2 * WIDTH, WIDTH, len(HEADS))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, C, H]."""
        dense_BCF = _normed(self.norm, dense(inputs))
        pin_BCD = self.pin(inputs["candidate_pin"])
        is_real_BL1 = (inputs["history_event_type"] > 0)[..., None].float()
        rows_BLD = (self.pin(inputs["history_pin"]) + self.content(inputs["history_content"])) * is_real_BL1
        mean_BD = rows_BLD.sum(dim=1) / is_real_BL1.sum(dim=1).clamp(min=1)
        newest_BD = rows_BLD[:, -1] if rows_BLD.shape[1] else mean_BD
        fields = [pin_BCD, self.content(inputs["candidate_content"]), self.as_field(dense_BCF)]
        fields += [each[:, None].expand_as(pin_BCD) for each in (mean_BD, newest_BD)]
        stacked_BCKD = torch.stack(fields, dim=-2)
        pairs_BCD = (stacked_BCKD.sum(-2).square() - stacked_BCKD.square().sum(-2)) / 2
        first = self.first_order(torch.cat([dense_BCF, pin_BCD], dim=-1))
        return torch.as_tensor(first + self.second_order(pairs_BCD) + self.deep(stacked_BCKD.flatten(-2)))


class SasRec(nn.Module):
    """Kang and McAuley 2018: the last state of a causal Transformer times the candidate's row, a line per head.

    It learns to foresee, as it is meant to, before the lines are fitted.
    """

    def __init__(self, content_width: int) -> None:
        super().__init__()
        self.pin, self.content = HashedEmbedding(HASH_ROWS, WIDTH), nn.Linear(content_width, WIDTH, bias=False)
        self.transformer = HistoryTransformer(WIDTH, num_layers=2, num_heads=2, max_length=256, dropout=0.2)
        self.norm = nn.LayerNorm(WIDTH)
        self.scale, self.offset = nn.Parameter(torch.ones(len(HEADS))), nn.Parameter(torch.zeros(len(HEADS)))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, C, H]."""
        state_BD = self.event_states(inputs)[:, -1]
        candidate_BCD = self.pin_rows(inputs["candidate_pin"], inputs["candidate_content"])
        score_BC = (candidate_BCD @ state_BD[..., None]).squeeze(-1) / WIDTH**0.5
        return torch.as_tensor(score_BC[..., None] * self.scale + self.offset)

    def event_states(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, L, D]."""
        rows_BLD = self.pin_rows(inputs["history_pin"], inputs["history_content"])
        return torch.as_tensor(self.transformer(rows_BLD, inputs["history_event_type"] > 0))

    def pin_rows(self, hash_K: Tensor, content_KW: Tensor) -> Tensor:
        """[..., D]."""
        return torch.as_tensor(self.norm(self.pin(hash_K) + self.content(content_KW)))


BASELINES: Mapping[str, Callable[[int], nn.Module]] = {
    "logistic_regression": LogisticRegression,
    "deep_fm": DeepFm,
    "sasrec": SasRec,
}


def dense(inputs: Mapping[str, Tensor]) -> Tensor:
    """What is known of a candidate as plain numbers [B, C, F]."""
    columns = [inputs["candidate_age_s"].clamp(min=0).log1p(), inputs["candidate_price"].clamp(min=0).log1p()]
    for name in GENERATORS:
        score_BC = inputs[score_name(name)]
        is_returned_BC = score_BC > NO_SCORE / 2
        columns += [torch.where(is_returned_BC, score_BC, 0.0).clamp(-1e3, 1e3), is_returned_BC.float()]
    return torch.stack(columns, dim=-1)


def _normed(norm: nn.BatchNorm1d, dense_BCF: Tensor) -> Tensor:
    return torch.as_tensor(norm(dense_BCF.flatten(0, 1))).view_as(dense_BCF)
