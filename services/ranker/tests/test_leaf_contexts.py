"""Kept contexts of the leaf: the same answers, for exactly the history they were made of; variants on trial."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.testing.eventually import eventually
from modeling.dcat.context import Context
from modeling.dcat.context_cache import ContextCache
from services.ranker.app.shadow import MAX_WAITING, Shadows
from services.ranker.domain.hosted_model import Answer, HostedModel, ScoreAsk
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.outbound.bundle_model_files import read_ranker
from services.ranker.tests.asks import ask


class _Counts:
    def __init__(self) -> None:
        self.hits, self.misses, self.num_bytes = 0, 0, 0

    def looked_up(self, is_hit: bool) -> None:
        self.hits += is_hit
        self.misses += not is_hit

    def saved_s(self, seconds: float) -> None:
        assert seconds > 0

    def holds(self, num_bytes: int, num_entries: int) -> None:
        self.num_bytes = num_bytes


@pytest.fixture
def hosted(tmp_path: Path, fitted: FittedRanker) -> HostedModel:
    for name, content in fitted.files.items():
        (tmp_path / name).write_bytes(content)
    return read_ranker(tmp_path, "v1")


@pytest.fixture
def counts() -> _Counts:
    return _Counts()


@pytest.fixture
def cache(counts: _Counts) -> ContextCache[Context]:
    return ContextCache(1 << 20, counts)


def _same(first: Answer, second: Answer) -> None:
    for head, column in first.probability_by_head.items():
        np.testing.assert_array_equal(column, second.probability_by_head[head])


def test_a_hit_answers_as_the_miss_did(hosted: HostedModel, cache: ContextCache[Context], counts: _Counts) -> None:
    request = ask(9, 12, "ann", 7)
    miss, hit = hosted.answer(request, cache), hosted.answer(request, cache)
    assert (counts.hits, counts.misses) == (1, 1)
    _same(miss, hit)
    for head, column in hosted.answer(request).probability_by_head.items():
        np.testing.assert_allclose(column, hit.probability_by_head[head], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "other",
    [
        ask(9, 12, "ann", 8),
        ask(9, 12, "bob", 7),
        ask(9, 11, "ann", 7),
        ask(9, 12, "ann", 7, first_event_type="hide"),
    ],
    ids=["newer version", "another user", "a shorter window", "what an event is changed"],
)
def test_whatever_the_history_depends_on_misses(
    hosted: HostedModel, cache: ContextCache[Context], counts: _Counts, other: ScoreAsk
) -> None:
    hosted.answer(ask(9, 12, "ann", 7), cache)
    fresh = hosted.answer(other)
    for head, column in hosted.answer(other, cache).probability_by_head.items():
        np.testing.assert_allclose(column, fresh.probability_by_head[head], rtol=1e-5, atol=1e-7)
    assert counts.hits == 0


def test_another_version_of_the_model_misses(
    hosted: HostedModel, cache: ContextCache[Context], counts: _Counts
) -> None:
    hosted.answer(ask(3, 4, "ann", 7), cache)
    replace(hosted, version="v2").answer(ask(3, 4, "ann", 7), cache)
    assert (counts.hits, counts.misses) == (0, 2)


def test_a_history_nobody_can_name_is_not_kept(
    hosted: HostedModel, cache: ContextCache[Context], counts: _Counts
) -> None:
    for request in (ask(3, 4, "", 7), ask(3, 4, "ann", 0)):
        hosted.answer(request, cache)
    assert (counts.hits, counts.misses, counts.num_bytes) == (0, 0, 0)


def test_one_batch_reads_a_shared_history_once(
    hosted: HostedModel, cache: ContextCache[Context], counts: _Counts
) -> None:
    requests = [ask(9, 12, "ann", 7), ask(4, 0, "new", 1), ask(9, 12, "ann", 7), ask(5, 3)]
    answers = hosted.answers(requests, cache)
    assert counts.misses == 2
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, Answer)
        for head, column in hosted.answer(request).probability_by_head.items():
            np.testing.assert_allclose(column, answer.probability_by_head[head], rtol=1e-4, atol=1e-6)


class _Trial:
    """Counts of variants."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.differences: dict[str, float] = {}

    def shadowed(self, variant: str, outcome: str) -> None:
        assert variant == "next"
        self.outcomes.append(outcome)

    def difference(self, variant: str, head: str, mean_absolute: float) -> None:
        assert variant == "next"
        self.differences[head] = mean_absolute


@asynccontextmanager
async def _shadows(model: Any, trial: _Trial, **options: Any) -> AsyncIterator[Shadows]:
    shadows = Shadows(("next",), lambda _: model, trial, **{"share": 1.0, **options})
    async with asyncio.TaskGroup() as tasks:
        await shadows.start(tasks)
        try:
            yield shadows
        finally:
            await shadows.stop(Deadline.after(1))


async def test_a_variant_is_compared_head_by_head(hosted: HostedModel) -> None:
    trial, request = _Trial(), ask(9, 12)
    served = hosted.answer(request)
    moved = replace(served, probability_by_head={h: p + 0.25 for h, p in served.probability_by_head.items()})
    async with _shadows(hosted, trial) as shadows:
        shadows.offer(request, moved)
        await eventually(lambda: bool(trial.outcomes))
    assert trial.outcomes == ["compared"]
    assert trial.differences == pytest.approx(dict.fromkeys(served.probability_by_head, 0.25), abs=1e-5)


class _Broken:
    def answer(self, ask: ScoreAsk) -> Answer:
        raise RuntimeError("weights of another shape")


@pytest.mark.parametrize(("model", "outcome"), [(_Broken(), "failed"), (None, "no_model")])
async def test_a_variant_that_fails_is_counted_and_the_next_one_is_tried(model: Any, outcome: str) -> None:
    trial = _Trial()
    async with _shadows(model, trial) as shadows:
        for _ in range(2):
            shadows.offer(ask(3, 2), Answer({}, (), 0))
        await eventually(lambda: len(trial.outcomes) == 2)
    assert trial.outcomes == [outcome] * 2


async def test_a_variant_that_reads_what_was_trimmed_away_is_not_compared(hosted: HostedModel) -> None:
    trial, whole = _Trial(), ask(9, 12)
    lacking = ScoreAsk({name: value for name, value in whole.tensors.items() if name != "candidate_price"})
    async with _shadows(hosted, trial) as shadows:
        shadows.offer(lacking, replace(hosted.answer(whole)))
        await eventually(lambda: bool(trial.outcomes))
    assert (trial.outcomes, trial.differences) == (["lacks_inputs"], {})


async def test_only_the_share_is_taken_and_a_full_queue_drops() -> None:
    trial, never = _Trial(), _Trial()
    chances: Mapping[bool, float] = {True: 0.09, False: 0.11}
    async with _shadows(None, never, share=0.1, chance=lambda: chances[False]) as shadows:
        shadows.offer(ask(3, 2), Answer({}, (), 0))
        await asyncio.sleep(0.02)
    assert never.outcomes == []
    shadows = Shadows(("next",), lambda _: None, trial, share=0.1, chance=lambda: chances[True])  # not started
    for _ in range(MAX_WAITING + 3):
        shadows.offer(ask(3, 2), Answer({}, (), 0))
    assert trial.outcomes == ["dropped"] * 3
