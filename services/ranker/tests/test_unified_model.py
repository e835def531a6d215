"""The model itself: what a history's reading depends on, towers of surfaces, and learning to foresee."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from modeling.arrays import AnyArray
from services.ranker.domain.features import FEATURES, SURFACE_ROW, SURFACES, shape_of
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings, for_surface
from services.ranker.domain.sequence_input import DAY_S, left_out_share

WIDTH = 8
MODEL = RankerSettings(content_width=WIDTH)


def _model(seed: int = 3) -> HistoryRanker:
    """Weights of an untrained model moved away from where they start, so that every tower says something."""
    torch.manual_seed(seed)
    model = HistoryRanker(MODEL)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def _inputs(num_history: int = 6, num_candidates: int = 5, surface: str = "home") -> dict[str, Tensor]:
    random = np.random.default_rng(11)
    tensors: dict[str, AnyArray] = {}
    for name, spec in FEATURES.items():
        shape = shape_of(spec, num_history, num_candidates, WIDTH)
        values = random.integers(1, 3, shape) if spec.dtype is np.int64 else random.random(shape)
        tensors[name] = values.astype(spec.dtype)
    tensors["history_age_s"] = np.sort(random.random(num_history).astype(np.float32) * 1e6)[::-1]
    tensors["surface"] = np.full(num_candidates, SURFACE_ROW.get(surface, 0))
    return {name: torch.from_numpy(np.ascontiguousarray(value))[None] for name, value in tensors.items()}


def _changed(inputs: Mapping[str, Tensor], **values: Tensor) -> dict[str, Tensor]:
    return {**inputs, **values}


@torch.no_grad()
def test_an_encoded_history_holds_until_the_next_event_whatever_the_time() -> None:
    model, inputs = _model(), _inputs()
    later = _changed(inputs, history_age_s=inputs["history_age_s"] + 7_200)
    for now, then in zip(model.encode_history(inputs).keys, model.encode_history(later).keys, strict=True):
        torch.testing.assert_close(now, then, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(inputs), model(later)), "a candidate's scores may depend on the time"


@torch.no_grad()
def test_a_candidate_never_sees_another_one() -> None:
    model, inputs = _model(), _inputs()
    before = model(inputs)
    inputs["candidate_content"][0, 1] = 9.0
    after = model(inputs)
    assert not torch.allclose(before[0, 1], after[0, 1])
    others = [0, 2, 3, 4]
    torch.testing.assert_close(before[0, others], after[0, others], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_padding_of_a_history_changes_nothing() -> None:
    model, inputs = _model(), _inputs()
    padded = dict(inputs)
    for name in ("history_pin", "history_event_type", "history_age_s", "history_content"):
        blank = torch.zeros_like(inputs[name][:, :2])
        padded[name] = torch.cat([blank, inputs[name]], dim=1)
    torch.testing.assert_close(model(inputs), model(padded), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("surface", SURFACES)
def test_a_checkpoint_of_one_surface_scores_there_as_the_whole_does(surface: str) -> None:
    model = _model()
    only = for_surface(model, surface)
    here = _inputs(surface=surface)
    torch.testing.assert_close(only(here), model(here))
    assert sum(p.numel() for p in only.parameters()) < sum(p.numel() for p in model.parameters())
    elsewhere = _inputs(surface=next(name for name in SURFACES if name != surface))
    assert not torch.allclose(only(elsewhere), model(elsewhere))


def test_a_surface_without_a_tower_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'lens'"):
        for_surface(_model(), "lens")


@torch.no_grad()
def test_a_surface_without_data_is_scored_as_all_surfaces_are() -> None:
    model = HistoryRanker(MODEL).eval()
    torch.testing.assert_close(model(_inputs(surface="search")), model(_inputs(surface="unknown")))


@torch.no_grad()
def test_a_number_far_outside_of_training_moves_scores_only_so_far() -> None:
    model = _model()
    for price, beyond in ((1e3, 1e6), (1e6, 1e9)):
        near, far = (_changed(_inputs(), candidate_price=torch.full((1, 5), value)) for value in (price, beyond))
        torch.testing.assert_close(model(near), model(far))


def test_ids_of_young_pins_are_left_out_more_often() -> None:
    days = torch.tensor([-1.0, 0.0, 6.9, 7.1, 27.0, 29.0])
    assert left_out_share(days * DAY_S).tolist() == [0.0, 0.5, 0.5, 0.25, 0.25, 0.0]


def test_ids_change_in_training_only() -> None:
    model, inputs = _model(), _inputs(num_candidates=200)
    served = [model.sequence.candidates(inputs) for _ in range(2)]
    assert torch.equal(*served)
    model.train()
    changed = (model.sequence.candidates(inputs) - served[0]).abs().amax(dim=-1)[0] > 1e-6
    assert 0.4 < float(changed.float().mean()) < 0.8, "5 % to 10 % are random, half of the young ones are left out"
