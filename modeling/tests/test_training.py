"""The loop learns, repeats itself with a seed, and leaves the model ready to serve."""

import numpy as np
import torch
from torch import nn

from modeling.arrays import Ints
from modeling.training import TrainingPlan, seed_everything, train


def _run() -> tuple[nn.Linear, list[float]]:
    seed_everything(3)
    model = nn.Linear(2, 1)
    rows = torch.randn(256, 2)
    target = rows @ torch.tensor([[2.0], [-1.0]])

    def loss(row_B: Ints) -> torch.Tensor:
        return torch.as_tensor(((model(rows[row_B]) - target[row_B]) ** 2).mean())

    return model, train(model, 256, loss, TrainingPlan(30, 32, learning_rate=0.05))


def test_training_lowers_the_loss_and_ends_in_evaluation_mode() -> None:
    model, losses = _run()
    assert losses[-1] < 0.05 * losses[0]
    assert not model.training


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (_run()[0].weight.detach().numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
