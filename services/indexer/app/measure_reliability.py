"""Measures live what the ranker's probabilities are worth: of shown pins whose time to be acted upon is over."""

import asyncio
from collections.abc import Mapping

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from chassis.metrics import Metrics
from services.indexer.domain.reliability import Said, said_and_happened
from services.indexer.ports import Outcomes

MS = 1_000
MAX_STEPS = 288  # a day of rounds every five minutes: what is older is history, not live
log = get_logger(__name__)


class MeasureReliability:
    """Every `interval_s` the feeds are counted that were served since the last time and whose window has closed.

    The window closes by what the lake has of events and feeds, not by the clock: a lake that is behind measures later
    and not wrongly. Feeds served before the start are left to the process before, and those of more than MAX_STEPS
    rounds ago to the lake. A round that fails is made again.
    """

    name = "reliability"

    def __init__(
        self,
        outcomes: Outcomes,
        label_by_head: Mapping[str, str],
        *,
        interval_s: float,
        window_s: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._outcomes, self._label_by_head = outcomes, label_by_head
        self._interval_s, self._window_ms = interval_s, round(window_s * MS)
        self._clock, self._metrics = clock, metrics
        self._next_ms = 0
        labels = ("surface", "head", "bin")
        self._examples = metrics.counter("ranker_reliability_examples_total", "Shown pins with a probability.", labels)
        self._expected = metrics.counter("ranker_reliability_expected_total", "Sum of their probabilities.", labels)
        self._observed = metrics.counter("ranker_reliability_observed_total", "Of them, those acted upon.", labels)
        self._bad = metrics.counter(
            "ranker_reliability_bad_total", "Probabilities that are none, or of an action that nobody knows."
        )
        self._failed = metrics.counter("ranker_reliability_failures_total", "Rounds that failed.")
        self._until = metrics.gauge(
            "ranker_reliability_until_seconds", "Feeds served before this time have been counted, epoch seconds."
        )

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds."""
        tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to do: counts end with the process."""

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            await self.round()

    async def round(self) -> None:
        """Count what has closed. Never raises for a lake that is away."""
        try:
            known_ms = await asyncio.to_thread(self._outcomes.known_until_ms)
            if not known_ms:
                return
            closed_ms, step_ms = known_ms - self._window_ms, round(self._interval_s * MS)
            self._next_ms = max(self._next_ms or closed_ms - step_ms, closed_ms - MAX_STEPS * step_ms)
            while self._next_ms < closed_ms:  # after an outage in steps, so that memory is bounded
                await self._count(self._next_ms, min(self._next_ms + step_ms, closed_ms))
        except CorkboardError as error:
            self._failed.inc()
            log.warning("reliability not measured", error=str(error))

    async def _count(self, since_ms: int, until_ms: int) -> None:
        counts, num_bad = await asyncio.to_thread(self._read, since_ms, until_ms)
        for said in counts:
            labels = (self._metrics.bounded(said.surface, label="surface"), said.head, said.bin)
            self._examples.labels(*labels).inc(said.num_examples)
            self._expected.labels(*labels).inc(said.expected)
            self._observed.labels(*labels).inc(said.observed)
        self._bad.inc(num_bad)
        self._next_ms = until_ms
        self._until.set(until_ms / MS)

    def _read(self, since_ms: int, until_ms: int) -> tuple[list[Said], int]:
        return said_and_happened(self._outcomes.between(since_ms, until_ms, self._window_ms), self._label_by_head)
