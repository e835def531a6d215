"""What the ranking model reads of pins and events: rows of numbers, the same in training and in serving.

A row of the history says nothing of the time of the request, only of the times between its events, so the keys and
values of a history hold for every request until the next event.
Shapes: B requests, L history events, C candidates, W content width, D width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modeling.dcat.engine import left_aligned
from modeling.layers import HashedEmbedding
from services.ranker.domain.features import EVENT_TYPES

MINUTE_S = 60.0
HOUR_S = 3_600.0
DAY_S = 86_400.0
RANDOM_ID_SHARE = 0.1  # of the training candidates: what a model does with an id that it never saw must be learnt too
# Share of training candidates whose id is left out, by age of the pin in days (PinFM, arXiv 2507.12704): the id of a
# young pin says little when it is served, whatever it came to say by the time of training.
YOUNG_DAYS = ((7.0, 0.5), (28.0, 0.25))


class SequenceInput(nn.Module):
    """Embeds pins by hashed id and content, and events by their pin, type and the times before them."""

    def __init__(self, content_width: int, width: int, hash_rows: int) -> None:
        super().__init__()
        self.pin = HashedEmbedding(hash_rows, width)
        self.content = nn.Linear(content_width, width)
        self.event_type = nn.Embedding(len(EVENT_TYPES) + 1, width)
        self.times = nn.Linear(2, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.history_norm = nn.LayerNorm(width)
        self.candidate_norm = nn.LayerNorm(width)
        nn.init.normal_(self.event_type.weight, std=0.02)

    def candidates(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, C, D]. In training some ids are left out or taken at random."""
        hash_BC, content_BCW = inputs["candidate_pin"], inputs["candidate_content"]
        if not self.training:
            return self.pins(hash_BC, content_BCW)
        is_random_BC = torch.rand(hash_BC.shape) < RANDOM_ID_SHARE
        random_BC = torch.randint(torch.iinfo(torch.int64).max, hash_BC.shape)
        id_BCD = self.pin(torch.where(is_random_BC, random_BC, hash_BC))
        is_kept_BC = torch.rand(hash_BC.shape) >= left_out_share(inputs["candidate_age_s"])
        return torch.as_tensor(self.candidate_norm(id_BCD * is_kept_BC[..., None] + self.content(content_BCW)))

    def pins(self, hash_: Tensor, content: Tensor) -> Tensor:
        """int64 [...] and [..., W] -> [..., D], as a candidate."""
        return torch.as_tensor(self.candidate_norm(self.pin(hash_) + self.content(content)))

    def history(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """[B, 1 + L, D] with events at the start of each row and their number [B]; a learned start event comes first,
        so no history is empty."""
        type_BL, age_s_BL = inputs["history_event_type"], inputs["history_age_s"]
        is_event_BL = type_BL != 0
        rows_BLD = self.pin(inputs["history_pin"]) + self.content(inputs["history_content"])
        rows_BLD = rows_BLD + self.event_type(type_BL) + self.times(_gaps(age_s_BL))
        start_B1D = self.start.expand(len(type_BL), 1, -1)
        rows_BLD = self.history_norm(torch.cat([start_B1D, rows_BLD], dim=1))
        is_start_B1 = torch.ones(len(type_BL), 1, dtype=torch.bool)
        return left_aligned(rows_BLD, torch.cat([is_start_B1, is_event_BL], dim=1))


def left_out_share(age_s: Tensor) -> Tensor:
    """How often the id of a pin of this age is left out in training; 0 where the age is not known (negative)."""
    share = torch.zeros_like(age_s)
    for days, chance in reversed(YOUNG_DAYS):
        share = torch.where((age_s >= 0) & (age_s < days * DAY_S), chance, share)
    return share


def newest_age_s(age_s_BL: Tensor, is_event_BL: Tensor) -> Tensor:
    """Seconds from the newest event to the request [B, 1]; 0 without any event."""
    never_B1 = age_s_BL.new_full((len(age_s_BL), 1), torch.inf)
    least_B1 = torch.cat([age_s_BL.masked_fill(~is_event_BL, torch.inf), never_B1], dim=1).amin(dim=1, keepdim=True)
    return torch.where(least_B1.isinf(), torch.zeros_like(least_B1), least_B1).clamp(min=0)


def _gaps(age_s_BL: Tensor) -> Tensor:
    """Time since the event before on two scales, log(1 + minutes) and log(1 + days) [B, L, 2]; 0 for the first."""
    gap_s_BL = torch.cat([torch.zeros_like(age_s_BL[:, :1]), age_s_BL[:, :-1] - age_s_BL[:, 1:]], dim=1).clamp(min=0)
    return torch.stack([torch.log1p(gap_s_BL / MINUTE_S), torch.log1p(gap_s_BL / DAY_S)], dim=-1)
