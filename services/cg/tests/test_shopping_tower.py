"""The model's promises, and its loss against a loop that takes one row at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from modeling.sampled_softmax import DEFAULT_TEMPERATURE
from services.cg.domain.shopping_features import PRICE_BANDS, ShoppingFeatures, group_of_types
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.domain.two_tower_shopping import ShoppingSettings, ShoppingTwoTower, from_settings, signature
from services.cg.offline.shopping_batch import ShoppingBatch
from services.cg.offline.shopping_training import LossWeights, ShoppingTrainer

TYPES = ("click", "save", "conversion")
NUM_PINS, WIDTH = 12, 6
SETTINGS = ShoppingSettings(NUM_PINS, WIDTH, len(TYPES), tuple(group_of_types(TYPES)), max_history=5, id_dropout=0.0)


def _model(settings: ShoppingSettings = SETTINGS) -> ShoppingTwoTower:
    torch.manual_seed(0)
    return ShoppingTwoTower(settings)


def _features() -> ShoppingFeatures:
    random = np.random.default_rng(0)
    content = random.normal(size=(NUM_PINS, WIDTH)).astype(np.float32)
    pins = PinFeatures(np.arange(1, NUM_PINS + 1), content, random.integers(0, 5, (NUM_PINS, 4)))
    advertiser_P = np.where(np.arange(NUM_PINS) < 9, 1_000 + np.arange(NUM_PINS) % 3, -1)
    return ShoppingFeatures(pins, advertiser_P, np.where(advertiser_P >= 0, 10.0, 0.0).astype(np.float32))


def _batch() -> ShoppingBatch:
    return ShoppingBatch(
        pin_RL=torch.tensor([[-1, 3, 9], [1, 2, 10], [-1, -1, -1]]),
        type_RL=torch.tensor([[0, 1, 3], [2, 1, 1], [0, 0, 0]]),
        user_id_R=torch.tensor([7, 8, 7]),
        row_to_request_B=torch.tensor([0, 0, 1, 2]),
        target_B=torch.tensor([0, 4, 5, 4]),
        conversion_B=torch.tensor([1.0, 0.0, 1.0, 0.0]),
        engagement_B=torch.tensor([0.5, 1.0, 0.0, 0.2]),
        negative_N=torch.tensor([6, 0, 8]),
        negative_user_N=torch.tensor([7, 8, 8]),
    )


@pytest.mark.parametrize("is_sequential", [False, True])
def test_vectors_have_unit_length_and_padding_changes_nothing(is_sequential: bool) -> None:
    model = _model(replace(SETTINGS, is_sequential=is_sequential)).eval()
    raw = torch.randn(1, 3, SETTINGS.raw_width)
    types, is_ad = torch.tensor([[1, 3, 1]]), torch.tensor([[True, True, False]])
    found = model.user_vectors(raw, types, is_ad, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(1))
    before = torch.zeros(1, 2, dtype=torch.bool)
    padded = model.user_vectors(
        torch.cat([torch.randn(1, 2, SETTINGS.raw_width), raw], dim=1),
        torch.cat([before.long() + 1, types], dim=1),
        torch.cat([before, is_ad], dim=1),
        torch.cat([before, torch.ones(1, 3, dtype=torch.bool)], dim=1),
    )
    torch.testing.assert_close(found, padded)


def test_a_click_on_an_ad_means_something_else_than_one_on_a_pin_and_a_purchase_than_a_click() -> None:
    model = _model().eval()
    raw, is_real = torch.randn(1, 1, SETTINGS.raw_width), torch.ones(1, 1, dtype=torch.bool)
    found = [
        model.user_vectors(raw, torch.tensor([[kind]]), torch.tensor([[is_ad]]), is_real)
        for kind, is_ad in ((1, False), (1, True), (3, True))
    ]
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert not torch.allclose(found[1], found[2], atol=1e-3)


def test_the_cross_and_the_mlp_read_the_same_raw_input() -> None:
    """Side by side: what the MLP gives does not change with the cross layers' weights; one after the other it does."""
    for is_sequential in (False, True):
        tower = _model(replace(SETTINGS, is_sequential=is_sequential)).item_tower
        seen: list[torch.Tensor] = []
        tower.deep.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0].detach()))
        raw = torch.randn(2, SETTINGS.raw_width)
        tower(raw)
        assert torch.equal(seen[0], raw) is not is_sequential


def test_the_model_is_rebuilt_from_its_signature() -> None:
    model = _model()
    again = from_settings(dict(signature(model.settings).settings))
    again.load_state_dict(model.state_dict())
    assert again.settings == model.settings


def test_prices_fall_into_bands() -> None:
    pins = _features().pins
    prices = np.asarray([0.0, 1.0, 10.0, 100.0, 1e9], dtype=np.float32)
    bands = ShoppingFeatures(pins, np.zeros(5, np.int64), prices).price_band_P
    assert bands[0] == 0 and (np.diff(bands) > 0).all() and bands[-1] == PRICE_BANDS


def test_the_loss_equals_a_loop_over_rows() -> None:
    weights = LossWeights(engagement=0.3, advertiser=0.2)
    trainer, batch = ShoppingTrainer(_model().eval(), _features(), weights), _batch()
    trainer.frequency.update(torch.cat([batch.target_B, batch.negative_N, torch.tensor([0, 0, 4])]))
    items = torch.from_numpy(trainer.item_vectors(np.arange(NUM_PINS)))
    users = torch.from_numpy(trainer.user_vectors(batch.pin_RL.numpy(), batch.type_RL.numpy()))
    log_q = trainer.frequency.log_q(torch.arange(NUM_PINS))
    columns = batch.target_B.tolist() + batch.negative_N.tolist()
    owner, advertiser_of = batch.user_id_B.tolist(), _features().advertiser_P
    losses, of_advertisers = [], []
    for row, target in enumerate(batch.target_B.tolist()):
        user = users[batch.row_to_request_B[row]]
        kept = []
        for place, item in enumerate(columns):
            is_own = place < len(owner) and owner[place] == owner[row]
            if place == row or not (item == target or is_own):
                kept.append(float(user @ items[item]) / DEFAULT_TEMPERATURE - float(log_q[item]))
        own = float(user @ items[target]) / DEFAULT_TEMPERATURE - float(log_q[target])
        losses.append(math.log(sum(math.exp(each - own) for each in kept)))
        logits = []
        for place, item in enumerate(batch.target_B.tolist()):
            if place == row or advertiser_of[item] != advertiser_of[target]:
                same = [items[i] for i in batch.target_B.tolist() if advertiser_of[i] == advertiser_of[item]]
                mean = functional.normalize(torch.stack(same).sum(dim=0), dim=0)
                logits.append((place == row, float(user @ mean) / DEFAULT_TEMPERATURE))
        own = next(value for is_own, value in logits if is_own)
        of_advertisers.append(math.log(sum(math.exp(value - own) for _, value in logits)))
    conversion = (losses[0] + losses[2]) / 2
    engagement = (0.5 * losses[0] + losses[1] + 0.2 * losses[3]) / 1.7
    expected = conversion + 0.3 * engagement + 0.2 * sum(of_advertisers) / 4
    assert trainer.loss(batch).item() == pytest.approx(expected, rel=1e-4)


def test_an_ad_that_was_left_alone_is_pushed_away_from_its_user() -> None:
    batch = _batch()
    losses = []
    for has_hard_negatives in (True, False):
        trainer = ShoppingTrainer(_model().eval(), _features(), LossWeights(has_hard_negatives=has_hard_negatives))
        (gradient,) = torch.autograd.grad(trainer.loss(batch), [trainer.model.id_table.weight])
        losses.append(gradient[1 + 8].abs().sum())  # pin 8 is only ever a negative
    assert losses[0] > 0 and losses[1] == 0


def test_shares_of_own_negatives_are_counted_before_and_after_the_mask() -> None:
    trainer = ShoppingTrainer(_model(), _features())
    trainer.model.train()
    trainer.loss(_batch())
    assert trainer.shares.before == pytest.approx(6 / 12), "user 7 has three of the four rows"
    assert trainer.shares.after == 0.0


def test_a_batch_without_positives_costs_nothing_and_has_gradients() -> None:
    batch = _batch()
    none, long = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    empty = replace(
        batch,
        pin_RL=torch.zeros(0, 3, dtype=torch.long),
        type_RL=torch.zeros(0, 3, dtype=torch.long),
        user_id_R=long,
        row_to_request_B=long,
        target_B=long,
        conversion_B=none,
        engagement_B=none,
    )
    trainer = ShoppingTrainer(_model(), _features())
    loss = trainer.loss(empty)
    found = torch.autograd.grad(loss, list(trainer.model.parameters()), allow_unused=True)
    assert loss.item() == 0.0
    assert all(each is None or not each.any() for each in found)
