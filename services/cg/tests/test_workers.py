"""Several workers on one batch: gradients and weights are those of one process."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from chassis.testing.ports import free_port
from services.cg.offline.row_fits import FITS
from services.cg.offline.rows_task import RowsTask
from services.cg.offline.training_runtime import HERE
from services.cg.tests.shopping_world import SETTINGS, write_dataset

PLAIN = {**SETTINGS, "id_dropout": 0.0}  # workers draw other random numbers for their own rows
CONTEXTUAL = {
    "inner_width": 16,
    "vector_width": 16,
    "max_history": 8,
    "id_dropout": 0.0,
    "dropout": 0.0,
    "context_dropout": 0.0,
}
WORKER = """
import json, sys
import torch
from torch import distributed
from services.cg.offline.row_fits import FITS
from services.cg.offline.rows_task import RowsTask
from services.cg.offline.training_runtime import one_of_many

torch.set_num_threads(1)
rank, num_workers, port, out, task = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_workers)
fitted = FITS[json.loads(task)["generator"]](RowsTask(**json.loads(task)), one_of_many(rank, num_workers))
torch.save(fitted.model.state_dict(), f"{out}/{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_dataset(tmp_path_factory.mktemp("workers") / "dataset-shop")


def _in_workers(task: RowsTask, num_workers: int, out: Path) -> list[dict[str, torch.Tensor]]:
    arguments = [str(num_workers), str(free_port()), str(out), json.dumps(asdict(task))]
    running = [
        subprocess.Popen(  # noqa: S603  # this interpreter, the script above
            [sys.executable, "-c", WORKER, str(rank), *arguments], env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
        for rank in range(num_workers)
    ]
    assert [each.wait(timeout=50) for each in running] == [0] * num_workers
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(num_workers)]


@pytest.mark.parametrize(("generator", "settings"), [("shopping", PLAIN), ("contextual", CONTEXTUAL)])
def test_two_workers_end_with_the_weights_of_one_process(
    dataset: Path, tmp_path: Path, generator: str, settings: dict[str, float]
) -> None:
    task = RowsTask(generator, str(dataset), num_epochs=1, patience=0, settings=settings)
    alone = FITS[generator](task, HERE).model.state_dict()
    first, second = _in_workers(task, 2, tmp_path)
    start = FITS[generator](task, HERE, is_trained_elsewhere=True).model.state_dict()
    assert any(not torch.allclose(alone[name], start[name], atol=1e-3) for name in alone), "something was learnt"
    for name, value in alone.items():
        torch.testing.assert_close(first[name], second[name], atol=0, rtol=0, msg=name)
        torch.testing.assert_close(first[name], value, atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.slow
@pytest.mark.timeout(600)  # Ray alone takes a minute to start on a busy machine
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_train_gives_what_one_process_gives(dataset: Path) -> None:
    from services.cg.offline.ray_workers import fit_on_ray

    task = RowsTask("shopping", str(dataset), num_epochs=1, patience=1, settings=PLAIN)
    alone, on_ray = FITS["shopping"](task, HERE), fit_on_ray(task, num_workers=2)
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(on_ray.model.state_dict()[name], value, atol=2e-4, rtol=1e-3, msg=name)
    assert on_ray.shares.before == pytest.approx(alone.shares.before) and on_ray.shares.num_batches > 0
