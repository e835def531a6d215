"""The ranking model: candidates attend to the history once encoded per request, one head per action.

Shapes: B requests, L history events, C candidates, W content width, D inner width, F dense features, H heads.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeling.layers import CandidateAttention, HashedEmbedding, Mlp
from modeling.signature import Signature, TensorSpec
from services.ranker.domain.features import EVENT_TYPES, FEATURES, HEADS, MAX_HISTORY, NO_SCORE, score_name

MODEL = "ranker"
DAY_S = 86_400.0


@dataclass(frozen=True)
class RankerSettings:
    """What the model is rebuilt from. `generators` are those whose scores it reads."""

    content_width: int
    generators: tuple[str, ...] = ("co_engaged", "popular")
    inner_width: int = 48
    num_heads: int = 4
    hash_rows: int = 8_192


def input_names(settings: RankerSettings) -> tuple[str, ...]:
    """The tensors this model reads; what the root sends is trimmed to them."""
    unused = {score_name(name) for name in set(_all_generators()) - set(settings.generators)}
    return tuple(name for name in FEATURES if name not in unused)


def _all_generators() -> list[str]:
    return [name.removeprefix("score_") for name in FEATURES if name.startswith("score_")]


class HistoryRanker(nn.Module):
    """Logits per head for every candidate of a request; a candidate never sees another one."""

    def __init__(self, settings: RankerSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.inner_width
        num_dense = 4 + 3 * len(settings.generators)
        self.pin = HashedEmbedding(settings.hash_rows, width)
        self.content = nn.Linear(settings.content_width, width)
        self.event_type = nn.Embedding(len(EVENT_TYPES) + 1, width)
        self.position = nn.Embedding(MAX_HISTORY + 1, width)
        self.age = nn.Linear(1, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.history_norm = nn.LayerNorm(width)
        self.candidate_norm = nn.LayerNorm(width)
        self.attention = CandidateAttention(width, settings.num_heads)
        self.recency_slope = nn.Parameter(torch.tensor(0.05))
        self.dense_norm = nn.BatchNorm1d(num_dense, affine=False)
        self.trunk = Mlp(3 * width + num_dense, 2 * width, width, len(HEADS))
        self.wide = nn.Linear(num_dense, len(HEADS))
        nn.init.normal_(self.position.weight, std=0.02)
        nn.init.normal_(self.event_type.weight, std=0.02)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits [B, C, H]; `inputs` are those of `input_names` with a leading request axis."""
        context, bias_BL = self.encode_history(inputs)
        return self.score_candidates(inputs, context, bias_BL)

    def encode_history(self, inputs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Keys and values per request, and the bias of each position; a learned start event is always there."""
        type_BL, age_s_BL = inputs["history_event_type"], inputs["history_age_s"]
        length = type_BL.shape[1]
        steps_back_L = torch.arange(length - 1, -1, -1)
        rows_BLD = self.pin(inputs["history_pin"]) + self.content(inputs["history_content"])
        rows_BLD = rows_BLD + self.event_type(type_BL) + self.position(steps_back_L.clamp(max=MAX_HISTORY))
        rows_BLD = rows_BLD + self.age(_log_days(age_s_BL)[..., None])
        start_B1D = self.start.expand(len(type_BL), 1, -1)
        rows_BLD = self.history_norm(torch.cat([start_B1D, rows_BLD], dim=1))
        bias_BL = -self.recency_slope.abs() * steps_back_L.expand(len(type_BL), -1)
        bias_BL = bias_BL.masked_fill(type_BL == 0, torch.finfo(bias_BL.dtype).min)
        bias_BL = torch.cat([torch.zeros(len(type_BL), 1), bias_BL], dim=1)
        return self.attention.context(rows_BLD), bias_BL

    def score_candidates(self, inputs: Mapping[str, Tensor], context: tuple[Tensor, Tensor], bias_BL: Tensor) -> Tensor:
        """Logits of the candidates given an encoded history [B, C, H]."""
        own_BCD = self.pin(inputs["candidate_pin"]) + self.content(inputs["candidate_content"])
        own_BCD = self.candidate_norm(own_BCD)
        seen_BCD = self.attention(own_BCD, context, bias_BL)
        dense_BCF = self._dense(inputs)
        features = torch.cat([own_BCD, seen_BCD, own_BCD * seen_BCD, dense_BCF], dim=-1)
        return torch.as_tensor(self.trunk(features) + self.wide(dense_BCF))

    def _dense(self, inputs: Mapping[str, Tensor]) -> Tensor:
        age_s_BC, price_BC = inputs["candidate_age_s"], inputs["candidate_price"]
        columns = [_log_days(age_s_BC), (age_s_BC >= 0).float()]
        columns += [torch.log1p(price_BC.clamp(min=0)), (price_BC > 0).float()]
        for generator in self.settings.generators:
            score_BC = inputs[score_name(generator)]
            is_returned_BC = (score_BC > NO_SCORE / 2).float()
            value_BC = torch.where(is_returned_BC > 0, score_BC, torch.zeros_like(score_BC)).clamp(-1e3, 1e3)
            columns += [value_BC, torch.sign(value_BC) * torch.log1p(20.0 * value_BC.abs()), is_returned_BC]
        dense_BCF = torch.stack(columns, dim=-1)
        return torch.as_tensor(self.dense_norm(dense_BCF.flatten(0, 1))).view_as(dense_BCF)


def _log_days(age_s: Tensor) -> Tensor:
    return torch.log1p(age_s.clamp(min=0) / DAY_S)


def signature(settings: RankerSettings) -> Signature:
    """Names, dtypes and shapes of one request; outputs are one probability per candidate and head."""
    inputs = []
    for name in input_names(settings):
        spec = FEATURES[name]
        shape = (-1, settings.content_width) if spec.has_width else (-1,)
        inputs.append(TensorSpec(name, spec.dtype.__name__, shape))
    outputs = tuple(TensorSpec(head, "float32", (-1,)) for head in HEADS)
    return Signature(MODEL, tuple(inputs), outputs, asdict(settings))


def from_settings(settings: Mapping[str, Any]) -> HistoryRanker:
    """An untrained model of these settings."""
    values = dict(settings)
    return HistoryRanker(RankerSettings(**{**values, "generators": tuple(values["generators"])}))
