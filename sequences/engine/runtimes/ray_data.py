"""The batch runtime on Ray Data: the same engine in worker processes, on one machine or a cluster.

Needs the extra `ray`. An address in RAY_ADDRESS is joined; without it Ray starts on this machine and ends with the job.
"""

import asyncio
import importlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from chassis.errors import Invalid, Unavailable
from protos import event_schema
from sequences.engine.runtimes.job import BATCH_ROWS, Job
from sequences.engine.runtimes.outcome import Outcome, from_table, to_table


class EnrichBatch:
    """What a worker runs: one engine, and an event loop for it, as long as the worker lives."""

    def __init__(self, job: Job) -> None:
        self._engine = job.engine(max_concurrency=1)
        self._runner = asyncio.Runner()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Every row with its outcome."""
        given = _one_batch(table)
        return to_table(self._runner.run(self._engine.run(given)), given)


def run_on_ray(job: Job, source: Path, num_workers: int, batch_rows: int = BATCH_ROWS) -> Iterator[Outcome]:
    """Outcomes of a Parquet file or folder of accepted events, in its order.

    Raises: Invalid when Ray is not installed or the columns are wrong; Unavailable when a worker cannot do its work.
    """
    with ray_session(num_workers) as ray:
        events = ray.data.read_parquet(str(source.resolve()), columns=event_schema.ACCEPTED.names)
        yield from map(from_table, _enriched(ray, job, events, num_workers, batch_rows))


def enrich_on_ray(job: Job, events: pa.Table, num_workers: int, batch_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Every accepted event of a table with its outcome, in order; see `to_table`. Raises: as `run_on_ray`.

    Who calls it many times keeps a `ray_session` open around.
    """
    with ray_session(num_workers) as ray:
        yield from _enriched(ray, job, ray.data.from_arrow(events), num_workers, batch_rows)


def _enriched(ray: Any, job: Job, events: Any, num_workers: int, batch_rows: int) -> Iterator[pa.Table]:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        enriched = events.map_batches(
            EnrichBatch,
            fn_constructor_args=(job,),
            batch_format="pyarrow",
            batch_size=batch_rows,
            zero_copy_batch=True,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_workers),
        )
        yield from enriched.iter_batches(batch_size=None, batch_format="pyarrow")
    except ray.exceptions.RayError as error:
        raise Unavailable(f"a worker of Ray failed: {_reason(error)}", reason="ray_worker") from error


def _ray() -> Any:
    """Raises: Invalid when the package is not there."""
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise Invalid(
            "runtime ray needs the package ray: pip install 'corkboard[ray]'", field="runtime", reason="no_ray"
        ) from error
    return ray


@contextmanager
def ray_session(num_workers: int) -> Iterator[Any]:
    """The module, with a Ray to work on; leaves one that was running before as it was. Raises: Invalid without Ray."""
    ray = _ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": num_workers + 1, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="warning", **local)
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    columns = [table.column(field.name).combine_chunks().cast(field.type) for field in event_schema.ACCEPTED]
    return pa.RecordBatch.from_arrays(columns, schema=event_schema.ACCEPTED)


def _reason(error: Exception) -> str:
    """What the worker itself raised, which Ray passes on in the text of a traceback, among advice of its own."""
    ours = re.findall(r"^chassis\.errors\.(\w+: .+)$", str(error), re.MULTILINE)
    raised = re.findall(r"^[\w.]*(?:Error|Exception): .+$", str(error), re.MULTILINE)
    found = ours or raised or [type(error).__name__]
    return str(found[0])
