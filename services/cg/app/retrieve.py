"""One retrieval: read the history, run the surface's generators side by side, merge."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid
from chassis.reason import reason_of
from modeling.hashing import stable_hash
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.merge import merge
from services.cg.domain.pin_index import PinIndex, PinSnapshot
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import (
    Degradation,
    Generated,
    GeneratorReport,
    HistoryEvent,
    RetrievalQuery,
    Retrieved,
    StoredVector,
    SurfacePlan,
)
from services.cg.domain.shopping_features import MICROS
from services.cg.ports import Histories, RetrievalMeter, SurfacePlans, UserVectors

FALLBACK = "popular"
ENCODERS = ("two_tower", "contextual", "shopping")  # whose stored vectors stand in for a history
MAX_CANDIDATES = 2_000
MAX_OVERFETCH = 200  # candidates beyond k a generator is asked for, to make up for near-duplicates
MERGE_RESERVE_S = 0.01  # kept back from the generators for merging and answering


@dataclass(frozen=True)
class RetrievalAsk:
    """A retrieval in domain words; empty strings and tuples mean "not given"."""

    user_id: str
    surface: str
    num_candidates: int
    subject_pin_id: str = ""
    locale: str = ""
    exclude_pin_ids: Sequence[str] = ()
    generators: Sequence[str] = ()
    min_price_micros: int = 0
    max_price_micros: int = 0
    history: tuple[HistoryEvent, ...] | None = None  # oldest first; None = to be read


@dataclass(frozen=True)
class _User:
    history: tuple[HistoryEvent, ...] = ()
    stored_vectors: Mapping[str, StoredVector] = field(default_factory=dict)
    degradations: tuple[Degradation, ...] = ()


@dataclass(frozen=True)
class _Run:
    report: GeneratorReport
    generated: Generated | None
    degradations: tuple[Degradation, ...] = ()


class Retrieve:
    """The use case behind RetrievalService.Retrieve."""

    def __init__(
        self,
        index: PinIndex,
        catalogue: Catalogue,
        plans: SurfacePlans,
        histories: Histories,
        user_vectors: UserVectors,
        meter: RetrievalMeter,
        clock: Clock,
        *,
        always_reads_stored: bool = False,
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._plans = plans
        self._histories = histories
        self._user_vectors = user_vectors
        self._meter = meter
        self._clock = clock
        self._always_reads_stored = always_reads_stored

    async def __call__(self, ask: RetrievalAsk, deadline: Deadline) -> Retrieved:
        """Merged candidates, unique, best first; what was missing is named.

        Raises: Invalid for a number or id out of bounds, NotFound for an unknown surface.
        """
        _check(ask)
        plan = self._plan(ask)
        user = await self._user(ask, deadline)
        snapshot = self._index.snapshot()
        now_ms = self._clock.now_ms()
        query = RetrievalQuery(
            snapshot,
            snapshot.allowed(_filter(ask, plan)),
            now_ms,
            user.history,
            user.stored_vectors,
            ask.subject_pin_id,
            seed=stable_hash(f"{ask.user_id} {now_ms}"),
        )
        k = ask.num_candidates + min(snapshot.num_duplicates, MAX_OVERFETCH)
        runs = await self._run_all(plan, query, k, deadline)
        return self._answer(ask, plan, snapshot, user, runs)

    def _plan(self, ask: RetrievalAsk) -> SurfacePlan:
        plan = self._plans.plan(ask.surface)
        if not ask.generators:
            return plan
        weights = {name: plan.weight_by_generator.get(name, 1.0) for name in ask.generators}
        return replace(plan, weight_by_generator=weights)

    async def _user(self, ask: RetrievalAsk, deadline: Deadline) -> _User:
        """The history; without one, the stored vectors; what could not be read is named."""
        if self._always_reads_stored and ask.user_id:
            (history, of_history), (stored, of_stored) = await asyncio.gather(
                self._history(ask, deadline), self._stored(ask.user_id, deadline)
            )
        else:
            history, of_history = await self._history(ask, deadline)
            if history or not ask.user_id:
                return _User(history)
            stored, of_stored = await self._stored(ask.user_id, deadline)
        degradations = (*of_history, *of_stored)
        if not history and not stored and not degradations:
            degradations = (Degradation("history", "not_found", "history_free"),)
        return _User(history, stored, degradations)

    async def _history(
        self, ask: RetrievalAsk, deadline: Deadline
    ) -> tuple[tuple[HistoryEvent, ...], tuple[Degradation, ...]]:
        if ask.history is not None:
            return ask.history, ()
        try:
            return await self._histories.recent(ask.user_id, deadline), ()
        except CorkboardError as error:
            return (), (Degradation("sequence", reason_of(error), "history_free"),)

    async def _stored(
        self, user_id: str, deadline: Deadline
    ) -> tuple[Mapping[str, StoredVector], tuple[Degradation, ...]]:
        try:
            return await self._user_vectors.stored(user_id, ENCODERS, deadline), ()
        except CorkboardError as error:
            return {}, (Degradation("user_vector", reason_of(error), "history_free"),)

    async def _run_all(self, plan: SurfacePlan, query: RetrievalQuery, k: int, deadline: Deadline) -> list[_Run]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._run(name, query, k, deadline)) for name in plan.weight_by_generator]
        runs = [task.result() for task in running]
        if any(run.report.num_returned for run in runs) or FALLBACK in plan.weight_by_generator:
            return runs
        fallback = await self._run(FALLBACK, query, k, deadline)
        return [*runs, fallback]

    async def _run(self, name: str, query: RetrievalQuery, k: int, deadline: Deadline) -> _Run:
        """One generator in a thread; any failure costs this generator only."""
        started_s = time.perf_counter()
        try:
            generate = self._catalogue.get(name)
            async with asyncio.timeout(max(0.0, deadline.remaining_s() - MERGE_RESERVE_S)):
                generated = await asyncio.to_thread(generate, query, k)
        except Exception as error:  # a plugin's bug must not take the other generators' candidates away
            report = GeneratorReport(name, 0, _milliseconds_since(started_s))
            return _Run(report, None, (Degradation(name, reason_of(error), "without"),))
        report = GeneratorReport(
            name,
            len(generated.row_K),
            _milliseconds_since(started_s),
            generated.index_version,
            generated.encoder_version,
        )
        return _Run(report, generated, generated.degradations)

    def _answer(
        self, ask: RetrievalAsk, plan: SurfacePlan, snapshot: PinSnapshot, user: _User, runs: Sequence[_Run]
    ) -> Retrieved:
        generated = {run.report.generator: run.generated for run in runs if run.generated is not None}
        candidates = merge(generated, plan.weight_by_generator, snapshot, ask.num_candidates)
        degradations = [*user.degradations, *(item for run in runs for item in run.degradations)]
        for run in runs:
            self._meter.retrieved(ask.surface, run.report.generator, run.report.num_returned)
        for degradation in degradations:
            self._meter.degraded(degradation.component, degradation.reason)
        versions = {f"model:{r.report.generator}": r.report.index_version for r in runs if r.report.index_version}
        return Retrieved(candidates, tuple(run.report for run in runs), tuple(degradations), versions)


def _filter(ask: RetrievalAsk, plan: SurfacePlan) -> PinFilter:
    subject = [ask.subject_pin_id] if ask.subject_pin_id else []
    return PinFilter(
        ask.locale,
        [*ask.exclude_pin_ids, *subject],
        plan.excluded_labels,
        ask.min_price_micros / MICROS,
        ask.max_price_micros / MICROS,
    )


def _check(ask: RetrievalAsk) -> None:
    for name, price in (("min_price_micros", ask.min_price_micros), ("max_price_micros", ask.max_price_micros)):
        if price < 0:
            raise Invalid(f"{name} is {price}, must be at least 0", field=name)
    if 0 < ask.max_price_micros < ask.min_price_micros:
        raise Invalid(
            f"max_price_micros is {ask.max_price_micros}, below min_price_micros {ask.min_price_micros}",
            field="max_price_micros",
        )
    if not 1 <= ask.num_candidates <= MAX_CANDIDATES:
        raise Invalid(f"num_candidates is {ask.num_candidates}, must be 1 to {MAX_CANDIDATES}", field="num_candidates")
    if len(ask.user_id) > 128:
        raise Invalid(f"user_id has {len(ask.user_id)} characters, at most 128 are allowed", field="user_id")


def _milliseconds_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1_000.0
