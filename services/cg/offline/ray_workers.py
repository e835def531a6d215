"""A training on Ray Train: several worker processes on CPUs, one whole batch, the same weights as in one process."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from chassis.errors import Invalid, Unavailable
from services.cg.offline.row_fits import FITS
from services.cg.offline.rows_task import FittedRows, RowsTask
from services.cg.offline.training_runtime import HERE, one_of_many

WEIGHTS = "weights.pt"
SHARES = "shares.json"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def fit_on_ray(task: RowsTask, num_workers: int) -> FittedRows:
    """Train `task` in `num_workers` processes; the first one's weights, which are everybody's.

    Raises: Invalid without Ray, Unavailable when a worker fails; its checkpoint is gone on from by the next start.
    """
    try:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise Invalid(
            "--runtime ray needs Ray Train: pip install 'corkboard[ray]'", field="runtime", reason="no_ray"
        ) from error
    fitted = FITS[task.generator](task, HERE, is_trained_elsewhere=True)
    with tempfile.TemporaryDirectory(prefix="corkboard-ray-") as folder, _ray(num_workers):
        trainer = TorchTrainer(
            _work,
            train_loop_config={"task": asdict(task), "folder": folder},
            scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=False),
            run_config=RunConfig(name="cg", storage_path=folder),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray wraps a worker's error in its own kinds
            raise Unavailable(f"a Ray worker failed: {error}", reason="worker_failed") from error
        fitted.model.load_state_dict(torch.load(Path(folder, WEIGHTS), weights_only=True))
        fitted.shares.load_state_dict(json.loads(Path(folder, SHARES).read_text()))
    fitted.model.eval()
    return fitted


@contextmanager
def _ray(num_workers: int) -> Iterator[None]:
    """A Ray of our own on this machine, unless one is running already."""
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        os.environ |= QUIET
        # one worker more than the training: its controller; workers import from where we were started
        ray.init(
            num_cpus=num_workers + 1,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()}},
        )
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()


def _work(config: dict[str, Any]) -> None:
    """In each worker: the task with this worker's part of every batch."""
    from ray import train

    torch.set_num_threads(1)
    context = train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    task = RowsTask(**config["task"])
    fitted = FITS[task.generator](task, one_of_many(rank, num_workers))
    if rank == 0:
        folder = Path(config["folder"])
        torch.save(fitted.model.state_dict(), folder / WEIGHTS)
        (folder / SHARES).write_text(json.dumps(fitted.shares.state_dict()))
