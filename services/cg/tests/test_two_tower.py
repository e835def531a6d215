"""The model's promises: shapes, padding does not matter, unknown ids fall back to content."""

import numpy as np
import torch

from services.cg.domain.two_tower import TwoTower, TwoTowerSettings
from services.cg.offline.fit_generators import Fitted

SETTINGS = TwoTowerSettings(num_pins=10, content_width=4, num_event_types=3, max_history=6)


def _model() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(SETTINGS).eval()


def test_vectors_have_unit_length() -> None:
    model = _model()
    pins = model.embed_pins(torch.arange(5), torch.randn(5, 4), torch.zeros(5, 4, dtype=torch.long))
    vectors = model.item_vectors(pins)
    assert vectors.shape == (5, SETTINGS.vector_width)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(5))


def test_padding_on_the_left_changes_nothing() -> None:
    model = _model()
    pins = torch.randn(1, 3, SETTINGS.inner_width)
    types, is_real = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool)
    padded = torch.cat([torch.randn(1, 3, SETTINGS.inner_width), pins], dim=1)
    padded_types = torch.cat([torch.zeros(1, 3, dtype=torch.long), types], dim=1)
    padded_real = torch.cat([torch.zeros(1, 3, dtype=torch.bool), is_real], dim=1)
    torch.testing.assert_close(
        model.user_vectors(pins, types, is_real), model.user_vectors(padded, padded_types, padded_real)
    )


def test_an_empty_history_is_the_learned_vector() -> None:
    model = _model()
    types, is_real = torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.bool)
    none = model.user_vectors(torch.randn(1, 3, SETTINGS.inner_width), types, is_real)
    torch.testing.assert_close(none[0], torch.nn.functional.normalize(model.no_history, dim=-1))


def test_trained_towers_and_item_to_item_beat_popularity(fitted: Fitted) -> None:
    by_model = {name: metrics["recall@10"] for name, metrics in fitted.evaluation.items()}
    assert min(by_model["two_tower"], by_model["co_engaged"]) > by_model["popularity"]
    assert np.isfinite(fitted.user_UV).all()
