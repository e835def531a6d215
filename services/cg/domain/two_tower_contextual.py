"""Contextual sequential two-tower: a Transformer over the history, a context layer over the subject pin, one head.

Pinterest, 2026-05-08, hybrid inference: the Transformer's last hidden state may be computed before the request, the
context layer and the head run in it. We differ in that demographics are not read, as nothing carries them yet.
Shapes: B rows, R requests, L history positions, P pins, C content width, G graph width, D inner width, V vector width,
T interests per pin. A pin is known by its id (row 0 is "no id"), content, graph vector and interests.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.layers import Mlp
from modeling.signature import Signature, TensorSpec
from modeling.transformer import HistoryTransformer

MODEL = "contextual"


@dataclass(frozen=True)
class ContextualSettings:
    """What the model is rebuilt from. `graph_width` 0 = pins have no graph vectors."""

    num_pins: int
    content_width: int
    num_event_types: int
    graph_width: int = 0
    inner_width: int = 64
    vector_width: int = 64
    num_layers: int = 1
    num_heads: int = 2
    max_history: int = 50
    topic_buckets: int = 512
    id_dropout: float = 0.2
    context_dropout: float = 0.5
    dropout: float = 0.2


@dataclass(frozen=True)
class PinTensors:
    """Model inputs of pins; see PinFeatures. `graph_PG` may be [P, 0]."""

    id_row_P: Tensor
    content_PC: Tensor
    graph_PG: Tensor
    topic_PT: Tensor

    def to(self, device: torch.device) -> "PinTensors":
        """The same on a device."""
        return PinTensors(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def take(self, rows: Tensor) -> "PinTensors":
        """These pins, in this order."""
        return PinTensors(self.id_row_P[rows], self.content_PC[rows], self.graph_PG[rows], self.topic_PT[rows])


class ContextualTwoTower(nn.Module):
    """User tower and item tower over one shared pin embedding."""

    def __init__(self, settings: ContextualSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.inner_width
        self.id_table = nn.Embedding(settings.num_pins + 1, width, padding_idx=0)
        self.topic_table = nn.Embedding(settings.topic_buckets + 1, width, padding_idx=0)
        # no bias: shared by all pins, at first it would be far larger than what tells them apart
        self.content = nn.Linear(settings.content_width, width, bias=False)
        self.graph = nn.Linear(settings.graph_width, width, bias=False) if settings.graph_width else None
        self.event_type = nn.Embedding(settings.num_event_types + 1, width)
        self.transformer = HistoryTransformer(
            width,
            num_layers=settings.num_layers,
            num_heads=settings.num_heads,
            max_length=settings.max_history,
            dropout=settings.dropout,
        )
        self.interest_table = nn.Embedding(settings.topic_buckets + 1, width, padding_idx=0)
        self.no_history = nn.Parameter(torch.randn(width) * 0.02)
        self.no_context = nn.Parameter(torch.randn(width) * 0.02)
        self.user_mlp = Mlp(2 * width, 2 * width, settings.vector_width)
        self.item_mlp = Mlp(width, 2 * width, settings.vector_width)
        for table in (self.id_table, self.topic_table, self.event_type, self.interest_table):
            nn.init.normal_(table.weight, std=0.05)
        with torch.no_grad():
            for table in (self.id_table, self.topic_table, self.interest_table):
                table.weight[0] = 0.0

    def embed_pins(self, pins: PinTensors) -> Tensor:
        """The pin embedding both towers start from [P, D].

        In training ids are hidden at random from pins that are known by something else, so that such a pin is placed
        well when its id is new.
        """
        id_row_P = pins.id_row_P
        if self.training and self.settings.id_dropout:
            is_known_P = (pins.topic_PT > 0).any(dim=1) | (pins.content_PC != 0).any(dim=1)
            is_hidden_P = torch.rand(id_row_P.shape, device=id_row_P.device) < self.settings.id_dropout
            id_row_P = id_row_P * ~(is_hidden_P & is_known_P)
        rows_PD = self.id_table(id_row_P) + self.content(pins.content_PC)
        rows_PD = rows_PD + _weighted_mean(self.topic_table(pins.topic_PT), (pins.topic_PT > 0).to(rows_PD.dtype))
        return torch.as_tensor(rows_PD if self.graph is None else rows_PD + self.graph(pins.graph_PG))

    def item_vectors(self, pins_PD: Tensor) -> Tensor:
        """Unit vectors of pins [P, V]."""
        return functional.normalize(self.item_mlp(pins_PD), dim=-1)

    def hidden_states(self, pins_RLD: Tensor, type_RL: Tensor, is_real_RL: Tensor) -> Tensor:
        """The Transformer's state after each event [R, L, D]: what may be computed before a request and stored."""
        return torch.as_tensor(self.transformer(pins_RLD + self.event_type(type_RL), is_real_RL))

    def last_hidden(self, pins_RLD: Tensor, type_RL: Tensor, is_real_RL: Tensor) -> Tensor:
        """State after the newest event, "no history" where there is none [R, D]; histories are right-aligned."""
        return self.or_no_history(self.hidden_states(pins_RLD, type_RL, is_real_RL)[:, -1], is_real_RL[:, -1])

    def or_no_history(self, hidden_BD: Tensor, has_history_B: Tensor) -> Tensor:
        """The learned "no history" vector in the rows that have none [B, D]."""
        return torch.where(has_history_B[:, None], hidden_BD, self.no_history)

    def context(self, topic_BT: Tensor, confidence_BT: Tensor) -> Tensor:
        """Interest embeddings of the subject weighted by confidence; the learned "no context" vector without any."""
        mean_BD = _weighted_mean(self.interest_table(topic_BT), confidence_BT * (topic_BT > 0))
        has_context_B = ((topic_BT > 0) & (confidence_BT > 0)).any(dim=1)
        return torch.where(has_context_B[:, None], mean_BD, self.no_context)

    def user_vectors(self, hidden_BD: Tensor, context_BD: Tensor) -> Tensor:
        """The head: unit vectors of users in their context [B, V]."""
        return functional.normalize(self.user_mlp(torch.cat([hidden_BD, context_BD], dim=-1)), dim=-1)


def _weighted_mean(rows_BTD: Tensor, weight_BT: Tensor) -> Tensor:
    total_B1 = weight_BT.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return (rows_BTD * (weight_BT / total_B1)[:, :, None]).sum(dim=1)


def signature(settings: ContextualSettings) -> Signature:
    """Names and shapes of both halves of the user tower, and the settings to rebuild the model."""
    length, width = settings.max_history, settings.inner_width
    inputs = (
        TensorSpec("history_pin", "float32", (-1, length, width)),
        TensorSpec("history_event_type", "int64", (-1, length)),
        TensorSpec("history_is_real", "bool", (-1, length)),
        TensorSpec("context_interest", "int64", (-1, -1)),
        TensorSpec("context_confidence", "float32", (-1, -1)),
    )
    outputs = (
        TensorSpec("hidden_state", "float32", (-1, width)),
        TensorSpec("user_vector", "float32", (-1, settings.vector_width)),
    )
    return Signature(MODEL, inputs, outputs, asdict(settings))


def from_settings(settings: dict[str, Any]) -> ContextualTwoTower:
    """An untrained model of these settings. Raises: TypeError for a setting no such model has."""
    return ContextualTwoTower(ContextualSettings(**settings))
