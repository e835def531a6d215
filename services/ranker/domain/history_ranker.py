"""The unified engagement model: one sequence model and one trunk for all surfaces, a tower per surface, a head per
action.

A history is read once per user by DCAT; candidates cross it. What comes of that and the dense features go through DCNv2
beside an MLP, then through experts that each tower weighs in its own way. The tower of all surfaces always counts; a
surface's own tower adds to it, and a surface that had no data adds nothing.
Shapes: B requests, L history events, C candidates, D width, F dense features, V expert width, K towers, H heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.cross import CrossAndDeep
from modeling.dcat.context import Context
from modeling.dcat.engine import Dcat, DcatSettings
from modeling.layers import Mlp
from modeling.mmoe import Mmoe
from modeling.signature import Signature, TensorSpec
from services.ranker.domain.features import FEATURES, HEADS, NO_SCORE, SURFACES, score_name
from services.ranker.domain.sequence_input import DAY_S, HOUR_S, SequenceInput, newest_age_s

MODEL = "ranker"
ALL = "all"  # the tower that counts on every surface
# A column that hardly moved in training says nothing of values it never had: it must not drown the others in serving.
DENSE_EPS = 0.01
DENSE_LIMIT = 6.0


@dataclass(frozen=True)
class RankerSettings:
    """What the model is rebuilt from. `generators` are those whose scores it reads, `surfaces` those with a tower."""

    content_width: int
    generators: tuple[str, ...] = ("co_engaged", "popular")
    surfaces: tuple[str, ...] = SURFACES
    inner_width: int = 48
    num_heads: int = 4
    num_layers: int = 1
    hash_rows: int = 8_192
    num_experts: int = 2
    expert_width: int = 48
    dropout: float = 0.2


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
        width, num_dense = settings.inner_width, 6 + 3 * len(settings.generators)
        self.sequence = SequenceInput(settings.content_width, width, settings.hash_rows)
        self.dcat = Dcat(
            DcatSettings(width, settings.num_layers, settings.num_heads, settings.dropout, has_recency=True)
        )
        self.as_candidate = nn.Parameter(torch.zeros(width))  # what tells a candidate from an event
        self.dense_norm = nn.BatchNorm1d(num_dense, eps=DENSE_EPS, affine=False)
        self.wide = nn.Linear(num_dense, len(HEADS))
        self.project = CrossAndDeep(3 * width + num_dense, 2 * width, width, num_crosses=1)
        self.projected = nn.Sequential(nn.LayerNorm(width), nn.GELU())
        self.experts = Mmoe(
            width, settings.expert_width, num_experts=settings.num_experts, num_tasks=1 + len(settings.surfaces)
        )
        self.towers = nn.ModuleList(_tower(settings.expert_width) for _ in (ALL, *settings.surfaces))
        for tower in list(self.towers)[1:]:  # a surface without data adds nothing for ever
            for parameter in tower.layers[-1].parameters():  # type: ignore[union-attr, index]
                nn.init.zeros_(parameter)
        row_S = [1 + settings.surfaces.index(name) if name in settings.surfaces else 0 for name in (ALL, *SURFACES)]
        self._tower_S = torch.tensor(row_S)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits [B, C, H]; `inputs` are those of `input_names` with a leading request axis."""
        return self.score_candidates(inputs, [self.encode_history(inputs)])

    def encode_history(self, inputs: Mapping[str, Tensor]) -> Context:
        """The context pass, one user per request. It holds until the user's next event, whatever the time."""
        return self.dcat.context(*self.sequence.history(inputs))

    def score_candidates(self, inputs: Mapping[str, Tensor], contexts: Sequence[Context]) -> Tensor:
        """The crossing pass and all after it, given encoded histories, together one user per request: [B, C, H]."""
        own_BCD = self.sequence.candidates(inputs)
        request_N = torch.arange(len(own_BCD)).repeat_interleave(own_BCD.shape[1])
        seen_BCD = self.dcat.cross((own_BCD + self.as_candidate).flatten(0, 1), request_N, contexts).view_as(own_BCD)
        foreseen_BC = (own_BCD @ self.next_state(inputs, contexts)[..., None]).squeeze(-1) / own_BCD.shape[-1] ** 0.5
        dense_BCF = self._dense(inputs, foreseen_BC)
        projected_BCD = self.project(torch.cat([own_BCD, seen_BCD, own_BCD * seen_BCD, dense_BCF], dim=-1))
        logit_BCH = self._towers(self.projected(projected_BCD), inputs["surface"]) + self.wide(dense_BCF)
        return torch.as_tensor(logit_BCH)

    def event_states(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The state of every event given those before it [B, L, D]; rows of padding mean nothing. For training."""
        rows_BLD, _ = self.sequence.history(inputs)
        place_BL = (inputs["history_event_type"] != 0).cumsum(dim=1)  # the start event is at 0
        return torch.take_along_dim(self.dcat.states(rows_BLD), place_BL[..., None], dim=1)

    def pin_rows(self, hash_K: Tensor, content_KW: Tensor) -> Tensor:
        """Pins as candidates [K, D]."""
        return self.sequence.pins(hash_K, content_KW)

    def next_state(self, inputs: Mapping[str, Tensor], contexts: Sequence[Context]) -> Tensor:
        """The newest event's state [B, D], whose product with a pin's row says how likely that pin comes next."""
        rows_BLD, length_B = self.sequence.history(inputs)
        request_B = torch.arange(len(length_B))
        before = [context.before_newest() for context in contexts]
        return self.dcat.cross(rows_BLD[request_B, length_B - 1], request_B, before)

    def _towers(self, projected_BCD: Tensor, surface_BC: Tensor) -> Tensor:
        """The tower of all surfaces, and beside it that of the candidate's surface where it has one."""
        mixed_BCKV = self.experts(projected_BCD)
        towers = zip(self.towers, mixed_BCKV.unbind(-2), strict=True)
        out_BCKH = torch.stack([tower(mixed_BCV) for tower, mixed_BCV in towers], dim=-2)
        known_BC = torch.where((surface_BC >= 0) & (surface_BC < len(self._tower_S)), surface_BC, 0)
        is_own_BCK = functional.one_hot(self._tower_S[known_BC], len(self.towers)).bool()
        is_first_K = torch.arange(len(self.towers)) == 0
        return ((is_own_BCK | is_first_K).to(out_BCKH.dtype)[..., None] * out_BCKH).sum(-2)

    def _dense(self, inputs: Mapping[str, Tensor], foreseen_BC: Tensor) -> Tensor:
        age_s_BC, price_BC = inputs["candidate_age_s"], inputs["candidate_price"]
        newest_s_B1 = newest_age_s(inputs["history_age_s"], inputs["history_event_type"] != 0)
        columns = [
            foreseen_BC,
            torch.log1p(newest_s_B1 / HOUR_S).expand_as(age_s_BC),
            _log_days(age_s_BC),
            (age_s_BC >= 0).float(),
        ]
        columns += [torch.log1p(price_BC.clamp(min=0)), (price_BC > 0).float()]
        for generator in self.settings.generators:
            score_BC = inputs[score_name(generator)]
            is_returned_BC = (score_BC > NO_SCORE / 2).float()
            value_BC = torch.where(is_returned_BC > 0, score_BC, torch.zeros_like(score_BC)).clamp(-1e3, 1e3)
            columns += [value_BC, torch.sign(value_BC) * torch.log1p(20.0 * value_BC.abs()), is_returned_BC]
        dense_BCF = torch.stack(columns, dim=-1)
        normed_BCF = torch.as_tensor(self.dense_norm(dense_BCF.flatten(0, 1))).view_as(dense_BCF)
        return normed_BCF.clamp(-DENSE_LIMIT, DENSE_LIMIT)


def _tower(width: int) -> Mlp:
    return Mlp(width, width // 2, len(HEADS))


def _log_days(age_s: Tensor) -> Tensor:
    return torch.log1p(age_s.clamp(min=0) / DAY_S)


def for_surface(model: HistoryRanker, surface: str) -> HistoryRanker:
    """The same scores on `surface`, with the towers of all and of that surface alone: one checkpoint of a run for all.

    Raises: ValueError when the model has no tower for it.
    """
    if surface not in model.settings.surfaces:
        raise ValueError(f"no tower for surface {surface!r}, only for {', '.join(model.settings.surfaces)}")
    settings = replace(model.settings, surfaces=(surface,))
    only, kept = HistoryRanker(settings), (0, 1 + model.settings.surfaces.index(surface))
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("towers.")}
    gates_KED = weights["experts.gates.weight"].view(len(model.towers), settings.num_experts, -1)
    weights["experts.gates.weight"] = gates_KED[list(kept)].flatten(0, 1)
    for place, number in enumerate(kept):
        tower = model.towers[number].state_dict()
        weights |= {f"towers.{place}.{name}": value for name, value in tower.items()}
    only.load_state_dict(weights)
    return only.eval()


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
    return HistoryRanker(RankerSettings(**values | {name: tuple(values[name]) for name in ("generators", "surfaces")}))
