"""One training loop: seeds, batches in a seeded order, optimiser, progress, checkpoints, an early end."""

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from modeling.arrays import Ints
from modeling.batches import Batches, RowBatches
from modeling.checkpoint import Checkpoint, Stateful
from modeling.early_stop import EarlyStop

Progress = Callable[[str, int, float], None]  # phase, step, loss
B = TypeVar("B")


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train; `patience` counts epochs without a better validation score, 0 = never stop.

    Parameters whose name begins with a key of `rate_shares` learn at that share of the learning rate: what has learnt
    already is changed with care.
    """

    num_epochs: int
    batch_size: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 17
    max_grad_norm: float = 1.0
    patience: int = 0
    rate_shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What a training touches beside its model: a validation score (higher is better) and state to be kept with it.

    `after_backward` may change gradients before they are clipped: workers add theirs up. `stepped` hears of each step.
    """

    validate: Callable[[], float] | None = None
    checkpoint: Checkpoint | None = None
    parts: Mapping[str, Stateful] = field(default_factory=dict)
    after_backward: Callable[[nn.Module], None] | None = None
    stepped: Callable[[int, int], None] | None = None  # steps done, steps planned


NONE = Surroundings()


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
    surroundings: Surroundings | None = None,
) -> list[float]:
    """`train_on` over `num_rows` rows: `loss_of` takes the row numbers of a batch."""
    batches = RowBatches(num_rows, plan.batch_size, plan.seed)
    return train_on(
        model, batches, batches.num_batches, loss_of, plan, phase=phase, progress=progress, surroundings=surroundings
    )


def train_on(
    model: nn.Module,
    batches: Batches[B],
    num_batches: int,
    loss_of: Callable[[B], Tensor],
    plan: TrainingPlan,
    *,
    phase: str = "train",
    progress: Progress = silent,
    surroundings: Surroundings | None = None,
) -> list[float]:
    """Minimise `loss_of` over epochs of about `num_batches` batches; returns the mean loss of each epoch.

    Leaves `model` in evaluation mode, with its best weights if it was validated. The learning rate warms up over the
    first tenth and falls to zero as a cosine. Started again with the checkpoint of a killed run it ends bit-equal to an
    uninterrupted one (CPU, same number of threads); a finished run removes its checkpoint.
    Raises: Invalid when the checkpoint is of another training.
    """
    run = _Run(model, num_batches, plan, phase, surroundings or Surroundings(), batches)
    model.train()
    while run.epoch < plan.num_epochs and not run.stop.is_over:
        for batch in batches:
            run.step(loss_of(batch))
        run.end_epoch()
        progress(phase, run.epoch, run.means[-1])
    run.stop.restore_best(model)
    model.eval()
    if run.around.checkpoint is not None:
        run.around.checkpoint.remove()
    return run.means


class _Run:
    """The moving parts of one training."""

    def __init__(
        self,
        model: nn.Module,
        num_batches: int,
        plan: TrainingPlan,
        phase: str,
        around: Surroundings,
        batches: Stateful,
    ) -> None:
        self.around, self._model, self._plan = around, model, plan
        self.stop = EarlyStop(plan.patience)
        self._num_steps = max(1, plan.num_epochs * num_batches)
        groups = _by_rate(model, plan)
        self._optimizer = torch.optim.AdamW(groups, plan.learning_rate, weight_decay=plan.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, [group["lr"] for group in groups], self._num_steps + 1, pct_start=0.1
        )
        self.epoch = self._steps_done = 0
        self.means: list[float] = []
        self._losses: list[float] = []
        self._identity = {**asdict(plan), "phase": phase, "num_batches": num_batches}
        self._parts: dict[str, Any] = {
            "model": model,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "stop": self.stop,
            "batches": batches,
            "run": self,
            **around.parts,
        }
        if around.checkpoint is not None and not around.checkpoint.restore(self._parts, self._identity):
            around.checkpoint.save(self._parts, self._identity)  # what the model brings from before is kept, too

    def step(self, loss: Tensor) -> None:
        """One update of the weights."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.around.after_backward is not None:
            self.around.after_backward(self._model)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._plan.max_grad_norm)
        self._optimizer.step()
        if self._steps_done < self._num_steps:  # a reader may hold a batch more than it was thought to
            self._schedule.step()
        self._steps_done += 1
        self._losses.append(float(loss.detach()))
        if self.around.stepped is not None:
            self.around.stepped(self._steps_done, self._num_steps)
        checkpoint = self.around.checkpoint
        if checkpoint is not None and self._steps_done % checkpoint.every_steps == 0:
            checkpoint.save(self._parts, self._identity)

    def end_epoch(self) -> None:
        """Mean loss, validation, checkpoint."""
        self.means.append(float(np.mean(self._losses)) if self._losses else 0.0)
        self._losses = []
        self.epoch += 1
        if self.around.validate is not None:
            self._model.eval()
            with torch.no_grad():
                self.stop.watch(self._model, self.around.validate())
            self._model.train()
        if self.around.checkpoint is not None:
            self.around.checkpoint.save(self._parts, self._identity)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"epoch": self.epoch, "steps_done": self._steps_done, "means": self.means, "losses": self._losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.epoch, self._steps_done = int(state["epoch"]), int(state["steps_done"])
        self.means, self._losses = list(state["means"]), list(state["losses"])


def _by_rate(model: nn.Module, plan: TrainingPlan) -> list[dict[str, Any]]:
    """The parameters in groups of one learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        shares = [share for prefix, share in plan.rate_shares.items() if name.startswith(prefix)]
        groups.setdefault(shares[0] if shares else 1.0, []).append(parameter)
    return [{"params": group, "lr": plan.learning_rate * share} for share, group in groups.items()]
