"""Where a training runs: a device, and which of several workers this process is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from chassis.errors import Invalid
from modeling.checkpoint import Checkpoint
from modeling.joint_rows import Gather, add_gradients, alone, of_all_workers
from sequences.request_batch import RequestBatch

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Runtime:
    """Workers read the same batches and each takes every `num_workers`-th request of them; their rows meet in the loss.

    `stepped` hears of each step: steps done, steps planned.
    """

    device: str = "cpu"
    rank: int = 0
    num_workers: int = 1
    gather: Gather = alone
    after_backward: Callable[[nn.Module], None] | None = None
    stepped: Callable[[int, int], None] | None = None

    def share(self, rows: RequestBatch) -> RequestBatch:
        """This worker's requests of a batch."""
        if self.num_workers == 1:
            return rows
        return rows.take(np.arange(self.rank, rows.num_requests, self.num_workers))


HERE = Runtime()


def one_of_many(rank: int, num_workers: int, stepped: Callable[[int, int], None] | None = None) -> Runtime:
    """A worker of a started process group, on the CPU."""
    first = stepped if rank == 0 else None
    return Runtime("cpu", rank, num_workers, of_all_workers, add_gradients, first)


def chosen_device(name: str) -> str:
    """`auto` is the GPU where there is one. Raises: Invalid for `cuda` where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Invalid("there is no CUDA device here; choose --device cpu or auto", field="device")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


class FollowedCheckpoint(Checkpoint):
    """For workers beside the first: they go on from what it wrote, and write nothing."""

    def save(self, parts: object, identity: object) -> None:
        """Left to the first worker."""

    def remove(self) -> None:
        """Left to the first worker."""
