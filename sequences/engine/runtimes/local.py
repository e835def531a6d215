"""The batch runtime in this process: batches through one engine, some at a time."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa

from sequences.engine.engine import MAX_CONCURRENCY, Engine
from sequences.engine.runtimes.job import Job
from sequences.engine.runtimes.outcome import Outcome, outcome_of


def run_local(job: Job, batches: Iterable[pa.RecordBatch], max_concurrency: int = MAX_CONCURRENCY) -> Iterator[Outcome]:
    """One outcome per batch, in order; not more than `max_concurrency` batches are held.

    Raises: Invalid when the columns are not those of accepted events; Unavailable when a look-up that may not be
    missing cannot be asked.
    """
    engine = job.engine(max_concurrency)
    waiting = iter(batches)
    try:
        with asyncio.Runner() as runner:
            while together := list(islice(waiting, max_concurrency)):
                yield from runner.run(_enriched(engine, together))
    finally:
        engine.close()


async def _enriched(engine: Engine, batches: list[pa.RecordBatch]) -> list[Outcome]:
    results = await asyncio.gather(*map(engine.run, batches))
    return [outcome_of(result, batch) for result, batch in zip(results, batches, strict=True)]
