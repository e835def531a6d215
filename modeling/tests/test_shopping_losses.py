"""Advertiser loss and click durations against the formulae written out."""

import math

import numpy as np
import pytest
import torch

from modeling.advertiser_loss import advertiser_means, advertiser_softmax
from modeling.click_duration import click_weights


def test_advertiser_loss_equals_the_reference() -> None:
    torch.manual_seed(0)
    users, items = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    advertiser = [7, 7, 3, -1, 3, 9]
    means = {a: torch.stack([items[i] for i in range(6) if advertiser[i] == a]).sum(dim=0) for a in set(advertiser)}
    losses = []
    for row, own in enumerate(advertiser):
        if own < 0:
            continue
        kept = [row, *(c for c in range(6) if advertiser[c] not in (own, -1))]
        logits = [float(users[row] @ (means[advertiser[c]] / means[advertiser[c]].norm())) / 0.07 for c in kept]
        losses.append(max(logits) + math.log(sum(math.exp(v - max(logits)) for v in logits)) - logits[0])
    found = advertiser_softmax(users, items, torch.tensor(advertiser))
    assert math.isclose(float(found), sum(losses) / len(losses), rel_tol=1e-9)


def test_means_are_of_unit_length_and_shared_by_an_advertiser() -> None:
    means = advertiser_means(torch.randn(5, 3), torch.tensor([1, 2, 1, 1, 2]))
    torch.testing.assert_close(means.norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(means[0], means[2])


def test_a_batch_of_one_advertiser_has_no_loss() -> None:
    assert float(advertiser_softmax(torch.randn(4, 3), torch.randn(4, 3), torch.ones(4))) == 0.0


def test_click_weights_equal_the_formula_with_floor_and_median() -> None:
    found = click_weights(np.asarray([0.0, 30.0, 60.0, 600.0, np.nan], np.float32), full_s=60.0, floor=0.1)
    median = math.log(1 + 45 / 60) / math.log(2)
    assert found == pytest.approx([0.1, math.log(1.5) / math.log(2), 1.0, 1.0, median], abs=1e-6)


def test_clicks_without_any_duration_weigh_one_and_bad_durations_are_refused() -> None:
    assert click_weights(np.full(3, np.nan, np.float32), full_s=60.0).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="positive"):
        click_weights(np.asarray([-1.0], np.float32), full_s=60.0)
