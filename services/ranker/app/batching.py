"""Joins requests that come within a few milliseconds into one model pass, on one thread, behind a bounded queue."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from modeling.dcat.context import Context
from modeling.dcat.context_cache import ContextCache
from services.ranker.domain.hosted_model import Answer, HostedModel, ScoreAsk
from services.ranker.ports import BatchMeter


@dataclass(frozen=True)
class _Waiting:
    model: HostedModel
    ask: ScoreAsk
    answer: "asyncio.Future[Answer]"


class Batcher:
    """Requests of one model version that wait at the same time are answered by one pass.

    A pass takes at most `max_rows` candidates, counted as if each request had as many as the largest. Who has given up
    is not scored. While a pass runs, the next batch gathers.
    """

    name = "batches"

    def __init__(
        self,
        meter: BatchMeter,
        contexts: ContextCache[Context] | None = None,
        *,
        wait_s: float,
        max_rows: int,
        max_waiting: int,
    ) -> None:
        self._meter = meter
        self._contexts = contexts
        self._wait_s = wait_s
        self._max_rows = max_rows
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(max_waiting)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._running: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to answer."""
        self._running = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - the door has drained: nobody waits any more
        """End; a pass that runs is let finish on its thread."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def answer(self, model: HostedModel, ask: ScoreAsk) -> Answer:
        """The model's answer. Raises: Unavailable when too many wait, Invalid as the model does."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(model, ask, future))
        except asyncio.QueueFull:
            raise Unavailable(
                f"{self._queue.maxsize} requests wait for the model already", reason="queue_full"
            ) from None
        return await future

    async def _run(self) -> None:
        held: _Waiting | None = None
        while True:
            batch, held = await self._gather(held or await self._queue.get())
            wanted = [waiting for waiting in batch if not waiting.answer.done()]
            if wanted:
                await self._answer(wanted)

    async def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None]:
        """A batch, and the request that came next but does not fit into it."""
        batch, rows = [first], first.ask.num_candidates
        give_up_s = asyncio.get_running_loop().time() + self._wait_s
        while True:
            try:
                async with asyncio.timeout_at(give_up_s):
                    waiting = await self._queue.get()
            except TimeoutError:
                return batch, None
            rows = max(rows, waiting.ask.num_candidates)
            if waiting.model is not first.model or rows * (len(batch) + 1) > self._max_rows:
                return batch, waiting
            batch.append(waiting)

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        self._meter.batch(len(batch))
        asks = [waiting.ask for waiting in batch]
        answers: Sequence[Answer | Exception]
        try:
            answers = await loop.run_in_executor(self._thread, batch[0].model.answers, asks, self._contexts)
        except Exception as error:  # whatever a pass meets is theirs who asked for it, and never the end of the loop
            answers = [error] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
