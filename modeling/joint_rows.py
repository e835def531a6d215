"""Rows of all workers of a training in one loss, so that in-batch negatives are those of the whole batch.

Every worker makes vectors of its own rows, gathers everybody's, and computes the whole loss. Gradients flow into its
own rows only; their sum over workers is the gradient of one process that has all rows. Rows lie along the first axis.
"""

from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn

Gather = Callable[[Tensor], Tensor]  # rows of this worker -> rows of all, in the order of workers


def alone(rows: Tensor) -> Tensor:
    """One process has all rows."""
    return rows


def of_all_workers(rows: Tensor) -> Tensor:
    """Everybody's rows, each worker's may be another number; the own ones carry gradients. A collective call."""
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)]))
    sizes = [int(count) for count in counts]
    padded = torch.zeros(max(sizes), *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    padded[: len(rows)] = rows.detach()
    found = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(found, padded)
    parts = [part[:size] for part, size in zip(found, sizes, strict=True)]
    parts[distributed.get_rank()] = rows
    return torch.cat(parts)


def add_gradients(model: nn.Module) -> None:
    """Every worker has the sum of all workers' gradients; one without counts as zero. A collective call."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
    distributed.all_reduce(flat)
    for parameter, part in zip(trained, torch.split(flat, [p.numel() for p in trained]), strict=True):
        parameter.grad = part.view_as(parameter).clone()
