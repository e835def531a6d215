"""Ends a training that no longer gets better, and remembers the best weights."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class EarlyStop:
    """`patience` epochs without a better score are the end; 0 = never. A higher score is better, NaN never is."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._best_score = -math.inf
        self._num_worse = 0
        self._best_weights: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        """Whether the patience has run out."""
        return 0 < self._patience <= self._num_worse

    def watch(self, model: nn.Module, score: float) -> None:
        """One epoch ended with this score."""
        if score > self._best_score:
            self._best_score, self._num_worse = score, 0
            self._best_weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            self._num_worse += 1

    def restore_best(self, model: nn.Module) -> None:
        """Give the model the weights of its best epoch; nothing happens when none was watched."""
        if self._best_weights:
            model.load_state_dict(self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"score": self._best_score, "num_worse": self._num_worse, "weights": self._best_weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self._best_score, self._num_worse = float(state["score"]), int(state["num_worse"])
        self._best_weights = {name: torch.as_tensor(value) for name, value in state["weights"].items()}
