"""Gradients of workers that share one loss, added up, are those of one process."""

import multiprocessing
from pathlib import Path

import torch
from torch import distributed, nn

from chassis.testing.ports import free_port
from modeling.joint_rows import add_gradients, of_all_workers

ROWS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
CUT = 5  # workers have unequal parts


def _model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3))


def _loss(vectors_BD: torch.Tensor) -> torch.Tensor:
    """Every row against every other, as in-batch negatives are."""
    return torch.logsumexp(vectors_BD @ vectors_BD.T, dim=1).mean()


def _work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model, own = _model(), ROWS[:CUT] if rank == 0 else ROWS[CUT:]
    torch.autograd.backward(_loss(of_all_workers(model(own))))
    add_gradients(model)
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_added_up_gradients_equal_those_of_one_process(tmp_path: Path) -> None:
    port = free_port()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(50)
    assert [each.exitcode for each in workers] == [0, 0]
    model = _model()
    torch.autograd.backward(_loss(model(ROWS)))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for gradient, parameter in zip(found, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, atol=1e-6, rtol=1e-5)
