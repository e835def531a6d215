"""Sequential two-tower model: a person's recent events on one side, pins on the other, meeting in one vector space.

Shapes: B users, L history positions, P pins, C content width, D inner width, V vector width, T topics per pin.
A pin is known by its id (row 0 is "no id"), its content vector and its topics; ids are dropped at random in training,
so a pin that arrives after training is placed by its content alone.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.layers import AttentionPool, Mlp
from modeling.signature import Signature, TensorSpec

MODEL = "two_tower"
RECENCY_DECAY = 0.9


@dataclass(frozen=True)
class TwoTowerSettings:
    """What the model is rebuilt from."""

    num_pins: int
    content_width: int
    num_event_types: int
    inner_width: int = 64
    vector_width: int = 48
    max_history: int = 32
    topic_buckets: int = 512
    id_dropout: float = 0.2


class TwoTower(nn.Module):
    """User tower and item tower over one shared pin embedding."""

    def __init__(self, settings: TwoTowerSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.inner_width
        self.id_table = nn.Embedding(settings.num_pins + 1, width, padding_idx=0)
        self.topic_table = nn.EmbeddingBag(settings.topic_buckets + 1, width, mode="mean", padding_idx=0)
        self.content = nn.Linear(settings.content_width, width)
        self.event_type = nn.Embedding(settings.num_event_types + 1, width)
        self.position = nn.Embedding(settings.max_history, width)
        self.pool = AttentionPool(width)
        self.recency_slope = nn.Parameter(torch.tensor(0.1))
        self.user_mlp = Mlp(3 * width, 2 * width, settings.vector_width)
        self.item_mlp = Mlp(width, 2 * width, settings.vector_width)
        self.no_history = nn.Parameter(torch.randn(settings.vector_width) * 0.02)
        for table in (self.id_table, self.topic_table, self.event_type, self.position):
            nn.init.normal_(table.weight, std=0.05)
        with torch.no_grad():
            self.id_table.weight[0] = 0.0
            self.topic_table.weight[0] = 0.0

    def embed_pins(self, id_row_P: Tensor, content_PC: Tensor, topic_PT: Tensor) -> Tensor:
        """The pin embedding both towers start from [P, D]."""
        if self.training and self.settings.id_dropout:
            id_row_P = id_row_P * (torch.rand(id_row_P.shape) >= self.settings.id_dropout)
        topics_PD = self.topic_table(topic_PT)
        return torch.as_tensor(self.id_table(id_row_P) + self.content(content_PC) + topics_PD)

    def item_vectors(self, pins_PD: Tensor) -> Tensor:
        """Unit vectors of pins [P, V]."""
        return functional.normalize(self.item_mlp(pins_PD), dim=-1)

    def user_vectors(self, pins_BLD: Tensor, type_BL: Tensor, is_real_BL: Tensor) -> Tensor:
        """Unit vectors of users [B, V]; histories are right-aligned: the newest event is the last position."""
        length = pins_BLD.shape[1]
        steps_back_L = torch.arange(length - 1, -1, -1, device=pins_BLD.device)
        rows_BLD = pins_BLD + self.event_type(type_BL) + self.position(steps_back_L)
        recency_BL = (-self.recency_slope.abs() * steps_back_L).expand(len(rows_BLD), -1)
        attended_BD = self.pool(rows_BLD, is_real_BL, recency_BL)
        weights_BL = RECENCY_DECAY**steps_back_L * is_real_BL
        weights_BL = weights_BL / weights_BL.sum(dim=1, keepdim=True).clamp(min=1e-6)
        mean_BD = (weights_BL[:, :, None] * rows_BLD).sum(dim=1)
        last_BD = rows_BLD[:, -1] * is_real_BL[:, -1:]
        vectors_BV = self.user_mlp(torch.cat([attended_BD, mean_BD, last_BD], dim=-1))
        has_history_B1 = is_real_BL.any(dim=1, keepdim=True)
        return functional.normalize(torch.where(has_history_B1, vectors_BV, self.no_history), dim=-1)


def signature(settings: TwoTowerSettings) -> Signature:
    """Names and shapes of the user tower's inputs, and the settings to rebuild both towers."""
    length, width = settings.max_history, settings.inner_width
    inputs = (
        TensorSpec("history_pin", "float32", (-1, length, width)),
        TensorSpec("history_event_type", "int64", (-1, length)),
        TensorSpec("history_is_real", "bool", (-1, length)),
    )
    outputs = (TensorSpec("user_vector", "float32", (-1, settings.vector_width)),)
    return Signature(MODEL, inputs, outputs, asdict(settings))


def from_settings(settings: dict[str, Any]) -> TwoTower:
    """An untrained model of these settings."""
    return TwoTower(TwoTowerSettings(**settings))
