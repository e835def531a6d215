"""One training loop: seeds, batches in a seeded order, optimiser, progress."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from modeling.arrays import Ints

Progress = Callable[[str, int, float], None]  # phase, step, loss


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train."""

    num_epochs: int
    batch_size: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 17
    max_grad_norm: float = 1.0


def silent(phase: str, step: int, loss: float) -> None:
    """A progress that says nothing."""


def seed_everything(seed: int) -> None:
    """Make the next run of the same code give the same numbers."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train(
    model: nn.Module,
    num_rows: int,
    loss_of: Callable[[Ints], Tensor],
    plan: TrainingPlan,
    *,
    phase: str = "train",
    progress: Progress = silent,
) -> list[float]:
    """Minimise `loss_of(row numbers of a batch)` over `num_rows` rows; returns the mean loss of each epoch.

    Leaves `model` in evaluation mode. The learning rate warms up over the first tenth and falls to zero as a cosine.
    """
    generator = np.random.default_rng(plan.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    num_steps = max(1, plan.num_epochs * -(-num_rows // plan.batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, num_steps + 1, pct_start=0.1)
    model.train()
    means = []
    for epoch in range(plan.num_epochs):
        losses = []
        order = generator.permutation(num_rows).astype(np.int64)
        for start in range(0, num_rows, plan.batch_size):
            loss = loss_of(order[start : start + plan.batch_size])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), plan.max_grad_norm)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        means.append(float(np.mean(losses)) if losses else 0.0)
        progress(phase, epoch + 1, means[-1])
    model.eval()
    return means
