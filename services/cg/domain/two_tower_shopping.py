"""Shopping conversion two-tower: what a person did with ads and pins on one side, ads on the other.

Pinterest, 2026-04-27: DCNv2 and a three-layer MLP side by side on the same raw input, concatenated, then projected; one
head for conversions and engagement. Shapes: R requests, L history positions, P pins, T topics per pin, C content width,
D width of an embedding, F raw width of a pin, G event groups, V vector width.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.cross import CrossAndDeep
from modeling.signature import Signature, TensorSpec
from services.cg.domain.shopping_features import GROUPS, PRICE_BANDS, ShoppingFeatures, advertiser_buckets

MODEL = "shopping"
LOOK, KEEP, AD, PURCHASE = range(len(GROUPS))
FIRST_SLOPE = 0.05  # an event of thirteen steps back weighs half


@dataclass(frozen=True)
class ShoppingSettings:
    """What the model is rebuilt from. `group_of_type` is a row of GROUPS for each event type, -1 = not read."""

    num_pins: int
    content_width: int
    num_event_types: int
    group_of_type: tuple[int, ...]
    embedding_width: int = 16
    content_inner_width: int = 32
    hidden_width: int = 96
    vector_width: int = 64
    num_crosses: int = 2
    is_sequential: bool = False
    max_history: int = 64
    topic_buckets: int = 512
    advertiser_buckets: int = 1024
    id_dropout: float = 0.9  # most ads are bought too rarely to be known by their id

    @property
    def raw_width(self) -> int:
        """F."""
        return 3 * self.embedding_width + self.content_inner_width + self.price_width + 1

    @property
    def price_width(self) -> int:
        """Width of a price band's embedding."""
        return max(1, self.embedding_width // 4)


@dataclass(frozen=True)
class ShoppingTensors:
    """Model inputs of pins; see ShoppingFeatures. `advertiser_P` are rows of the advertiser table."""

    id_row_P: Tensor
    content_PC: Tensor
    topic_PT: Tensor
    advertiser_P: Tensor
    price_band_P: Tensor
    log_price_P: Tensor

    def take(self, rows: Tensor) -> "ShoppingTensors":
        """These pins, in this order."""
        return ShoppingTensors(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def to(self, device: torch.device) -> "ShoppingTensors":
        """The same on a device."""
        return ShoppingTensors(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class ShoppingTwoTower(nn.Module):
    """User tower and item tower over one shared raw description of pins."""

    def __init__(self, settings: ShoppingSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.embedding_width
        self.id_table = nn.Embedding(settings.num_pins + 1, width, padding_idx=0)
        self.topic_table = nn.Embedding(settings.topic_buckets + 1, width, padding_idx=0)
        self.advertiser_table = nn.Embedding(settings.advertiser_buckets + 1, width, padding_idx=0)
        self.price_table = nn.Embedding(PRICE_BANDS + 1, settings.price_width, padding_idx=0)
        self.content = nn.Linear(settings.content_width, settings.content_inner_width, bias=False)
        self.slope_G = nn.Parameter(torch.full((len(GROUPS),), FIRST_SLOPE))
        self.user_tower = self._tower((len(GROUPS) + 1) * settings.raw_width + len(GROUPS))
        self.item_tower = self._tower(settings.raw_width)
        for table in (self.id_table, self.topic_table, self.advertiser_table, self.price_table):
            nn.init.normal_(table.weight, std=0.1)
            with torch.no_grad():
                table.weight[0] = 0.0
        self.group_of_type: Tensor
        self.register_buffer("group_of_type", torch.tensor([-1, *settings.group_of_type]), persistent=False)

    def _tower(self, width_in: int) -> CrossAndDeep:
        settings = self.settings
        return CrossAndDeep(
            width_in,
            settings.hidden_width,
            settings.vector_width,
            num_crosses=settings.num_crosses,
            is_sequential=settings.is_sequential,
        )

    def describe(self, pins: ShoppingTensors) -> Tensor:
        """The raw description of pins that both towers read [P, F]; in training ids are hidden at random."""
        id_row_P = pins.id_row_P
        if self.training and self.settings.id_dropout:
            id_row_P = id_row_P * (torch.rand(id_row_P.shape) >= self.settings.id_dropout).to(id_row_P.device)
        has_topic_PT = (pins.topic_PT > 0).to(pins.content_PC.dtype)
        topics_PD = (self.topic_table(pins.topic_PT) * has_topic_PT[:, :, None]).sum(dim=1)
        parts = [
            self.id_table(id_row_P),
            self.content(pins.content_PC),
            topics_PD / has_topic_PT.sum(dim=1, keepdim=True).clamp(min=1.0),
            self.advertiser_table(pins.advertiser_P),
            self.price_table(pins.price_band_P),
            pins.log_price_P[:, None] / 4.0,  # most prices then lie around 1
        ]
        return torch.cat(parts, dim=-1)

    def item_vectors(self, raw_PF: Tensor) -> Tensor:
        """Unit vectors of pins [P, V]."""
        return functional.normalize(self.item_tower(raw_PF), dim=-1)

    def user_vectors(self, raw_RLF: Tensor, type_RL: Tensor, is_ad_RL: Tensor, is_real_RL: Tensor) -> Tensor:
        """Unit vectors of users [R, V] from right-aligned histories; one without events has a vector as well.

        The raw input: for each group of events the mean pin, newer ones weighing more, how many there are, and the
        newest pin of all.
        """
        group_RL = self.group_of_type[type_RL]
        is_on_ad_RL = is_ad_RL & ((group_RL == LOOK) | (group_RL == KEEP))
        group_RL = torch.where(is_on_ad_RL, AD, group_RL)
        steps_back_L = torch.arange(raw_RLF.shape[1] - 1, -1, -1, device=raw_RLF.device)
        parts = []
        for group in range(len(GROUPS)):
            is_in_RL = ((group_RL == group) & is_real_RL).to(raw_RLF.dtype)
            weight_RL = is_in_RL * torch.exp(-self.slope_G[group].abs() * steps_back_L)
            total_R1 = weight_RL.sum(dim=1, keepdim=True).clamp(min=1e-9)
            parts += [
                torch.einsum("rl,rlf->rf", weight_RL / total_R1, raw_RLF),
                torch.log1p(is_in_RL.sum(dim=1, keepdim=True)) / 4.0,
            ]
        parts.append(raw_RLF[:, -1] * is_real_RL[:, -1:])
        return functional.normalize(self.user_tower(torch.cat(parts, dim=-1)), dim=-1)


def shopping_tensors(features: ShoppingFeatures, num_advertiser_buckets: int) -> ShoppingTensors:
    """The same features as tensors."""
    return ShoppingTensors(
        torch.from_numpy(features.pins.id_row_P),
        torch.from_numpy(features.pins.content_PC),
        torch.from_numpy(features.pins.topic_PT),
        torch.from_numpy(advertiser_buckets(features.advertiser_P, num_advertiser_buckets)),
        torch.from_numpy(features.price_band_P),
        torch.from_numpy(np.asarray(features.log_price_P)),
    )


def signature(settings: ShoppingSettings) -> Signature:
    """Names and shapes of the user tower's inputs, and the settings to rebuild both towers."""
    length = settings.max_history
    inputs = (
        TensorSpec("history_pin", "float32", (-1, length, settings.raw_width)),
        TensorSpec("history_event_type", "int64", (-1, length)),
        TensorSpec("history_is_ad", "bool", (-1, length)),
        TensorSpec("history_is_real", "bool", (-1, length)),
    )
    outputs = (TensorSpec("user_vector", "float32", (-1, settings.vector_width)),)
    return Signature(MODEL, inputs, outputs, asdict(settings))


def from_settings(settings: dict[str, Any]) -> ShoppingTwoTower:
    """An untrained model of these settings. Raises: TypeError for a setting no such model has."""
    groups = tuple(settings.pop("group_of_type", ()))
    return ShoppingTwoTower(ShoppingSettings(group_of_type=groups, **settings))
