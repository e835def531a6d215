"""Shadow variants: a share of the requests is scored again by models whose answers nobody sees, to compare them.

Nothing of it is on a request's path: what does not fit into the queue is dropped and counted, and a variant that fails
is counted.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chassis.deadline import Deadline
from services.ranker.domain.hosted_model import Answer, HostedModel, ScoreAsk
from services.ranker.ports import ShadowMeter

MAX_WAITING = 16


@dataclass(frozen=True)
class _Waiting:
    ask: ScoreAsk
    answer: Answer


class Shadows:
    """Compares each variant's probabilities with those that were served.

    A variant that reads an input which the request lacks (trimmed for the served model) is not compared: its defaults
    would be what differs. `find` gives a variant's model, None until one was released.
    """

    name = "shadows"

    def __init__(
        self,
        variants: Sequence[str],
        find: Callable[[str], HostedModel | None],
        meter: ShadowMeter,
        *,
        share: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._variants, self._find, self._meter = variants, find, meter
        self._share, self._chance = share, chance
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._running: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to compare."""
        if self._variants:
            self._running = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nobody waits for a comparison
        """End; what waits is forgotten."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def offer(self, ask: ScoreAsk, answer: Answer) -> None:
        """A request that was answered; returns at once."""
        if not self._variants or self._chance() >= self._share:
            return
        try:
            self._queue.put_nowait(_Waiting(ask, answer))
        except asyncio.QueueFull:
            for name in self._variants:
                self._meter.shadowed(name, "dropped")

    async def _run(self) -> None:
        while True:
            waiting = await self._queue.get()
            for name in self._variants:
                await self._compare(name, waiting)

    async def _compare(self, name: str, waiting: _Waiting) -> None:
        model = self._find(name)
        if model is None:
            return self._meter.shadowed(name, "no_model")
        try:
            answer = await asyncio.to_thread(model.answer, waiting.ask)
        except Exception:  # a variant on trial may fail in any way; what it must not do is end this loop
            return self._meter.shadowed(name, "failed")
        if set(answer.defaulted_inputs) - set(waiting.answer.defaulted_inputs):
            return self._meter.shadowed(name, "lacks_inputs")
        for head, served_C in waiting.answer.probability_by_head.items():
            found_C = answer.probability_by_head.get(head)
            if found_C is not None and len(found_C):
                self._meter.difference(name, head, float(np.abs(found_C - served_C).mean()))
        return self._meter.shadowed(name, "compared")
