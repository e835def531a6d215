"""A killed training that is started again ends bit-equal to one that ran through; early stop keeps the best weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chassis.errors import Corrupt, Invalid
from modeling.arrays import Ints
from modeling.batches import RowBatches
from modeling.checkpoint import Checkpoint
from modeling.streaming_frequency import StreamingFrequency
from modeling.training import Surroundings, TrainingPlan, seed_everything, train

PLAN = TrainingPlan(4, 16, learning_rate=0.05, seed=5)
NUM_ROWS = 100


class Killed(Exception):
    """Stands for a process that is gone."""


class Work:
    """A training with dropout, random numbers of all three sources and counted state."""

    def __init__(self) -> None:
        seed_everything(PLAN.seed)
        self.rows = torch.randn(NUM_ROWS, 3)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.4), nn.Linear(8, 1))
        self.frequency = StreamingFrequency(64)
        self.num_steps = 0

    def run(self, checkpoint: Checkpoint | None, killed_at: int = -1, plan: TrainingPlan = PLAN) -> list[float]:
        def loss(row_B: Ints) -> torch.Tensor:
            if self.num_steps == killed_at:
                raise Killed
            self.num_steps += 1
            item_B = torch.from_numpy(row_B % 7)
            self.frequency.update(item_B)
            noise = float(np.random.rand()) + torch.rand(1)
            found = self.model(self.rows[row_B]).squeeze(-1) - self.frequency.log_q(item_B)
            return torch.as_tensor(((found - noise) ** 2).mean())

        around = Surroundings(checkpoint=checkpoint, parts={"frequency": self.frequency})
        return train(self.model, NUM_ROWS, loss, plan, surroundings=around)

    def weights(self) -> list[float]:
        return [float(x) for p in self.model.parameters() for x in p.detach().flatten()]


@pytest.mark.parametrize("killed_at", [4, 6, 7, 13, 27])
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, killed_at: int) -> None:
    through = Work()
    losses = through.run(None)
    checkpoint = Checkpoint(tmp_path / "training.pt", every_steps=3)
    with pytest.raises(Killed):
        Work().run(checkpoint, killed_at)
    again = Work()
    torch.rand(5)  # the new process is elsewhere in its random numbers
    assert again.run(checkpoint) == losses
    assert again.weights() == through.weights()
    assert again.num_steps < through.num_steps, "it did not begin anew"
    assert not checkpoint.path.exists(), "a finished training leaves no checkpoint"


def test_a_checkpoint_of_another_training_is_refused_by_the_setting_that_differs(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "training.pt", every_steps=1)
    with pytest.raises(Killed):
        Work().run(checkpoint, 3)
    with pytest.raises(Invalid, match="learning_rate"):
        Work().run(checkpoint, plan=TrainingPlan(4, 16, learning_rate=0.01, seed=5))
    checkpoint.path.write_bytes(b"not a checkpoint")
    with pytest.raises(Corrupt):
        Work().run(checkpoint)


def _scored(scores: list[float]) -> tuple[list[float], float]:
    """Trains one weight upwards by steps; returns the epochs' losses and the weight that was kept."""
    model = nn.Linear(1, 1, bias=False)
    given = iter(scores)
    seen: list[float] = []

    def validate() -> float:
        seen.append(float(model.weight.detach()))
        return next(given)

    plan = TrainingPlan(len(scores), 4, learning_rate=0.1, patience=2)

    def loss(row_B: Ints) -> torch.Tensor:
        return torch.as_tensor(-model.weight.sum())

    losses = train(model, 4, loss, plan, surroundings=Surroundings(validate=validate))
    return losses, seen.index(float(model.weight.detach()))


def test_training_stops_after_two_worse_epochs_and_keeps_the_best() -> None:
    losses, best = _scored([0.1, 0.3, 0.2, float("nan"), 0.9, 1.0])
    assert (len(losses), best) == (4, 1)


def test_training_that_gets_better_runs_to_its_end() -> None:
    losses, best = _scored([0.1, 0.05, 0.2, 0.15, 0.3])
    assert (len(losses), best) == (5, 4)


def test_batches_hold_every_row_once_per_epoch_and_go_on_where_they_were() -> None:
    batches = RowBatches(10, 4, seed=1)
    first, second = [np.concatenate(list(batches)) for _ in range(2)]
    assert sorted(first) == sorted(second) == list(range(10))
    assert (first != second).any()
    again = RowBatches(10, 4, seed=1)
    rows = iter(again)
    next(rows)
    resumed = RowBatches(10, 4, seed=1)
    resumed.load_state_dict(again.state_dict())
    np.testing.assert_array_equal(np.concatenate(list(resumed)), first[4:])
