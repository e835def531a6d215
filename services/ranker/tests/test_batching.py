"""Batches of the leaf: answers as if each request were alone, bounded waiting, one request's fault its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid, Unavailable
from modeling.arrays import Floats
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.app.batching import Batcher
from services.ranker.domain.hosted_model import Answer, HostedModel, ScoreAsk
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.outbound.bundle_model_files import read_ranker
from services.ranker.tests.asks import ask
from services.ranker.tests.running_ranker import World

SIZES = ((5, 7), (40, 0), (1, 100), (17, 3))  # candidates and history events of each request


@pytest.fixture
def hosted(tmp_path: Path, fitted: FittedRanker) -> HostedModel:
    for name, content in fitted.files.items():
        (tmp_path / name).write_bytes(content)
    return read_ranker(tmp_path, "v1")


class _Sizes:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def batch(self, num_requests: int) -> None:
        self.seen.append(num_requests)


class _Blocked:
    """Stands in for a model whose pass takes as long as the test wants."""

    def __init__(self) -> None:
        self.may_end = Event()
        self.passes: list[int] = []

    def answers(self, asks: Sequence[ScoreAsk], contexts: object) -> list[Answer | CorkboardError]:
        self.passes.append(len(asks))
        assert self.may_end.wait(5)
        return [Answer({}, (), 0) for _ in asks]


@asynccontextmanager
async def _batcher(**fields: Any) -> AsyncIterator[tuple[Batcher, _Sizes]]:
    sizes = _Sizes()
    batcher = Batcher(sizes, **{"wait_s": 0.1, "max_rows": 2_000, "max_waiting": 64, **fields})
    async with asyncio.TaskGroup() as tasks:
        await batcher.start(tasks)
        try:
            yield batcher, sizes
        finally:
            await batcher.stop(Deadline.after(1))


async def test_batched_answers_are_those_of_each_request_alone(hosted: HostedModel) -> None:
    requests = [ask(*size) for size in SIZES]
    async with _batcher() as (batcher, sizes):
        together = await asyncio.gather(*(batcher.answer(hosted, request) for request in requests))
    assert sizes.seen == [len(requests)]
    for request, answer in zip(requests, together, strict=True):
        alone = hosted.answer(request)
        assert answer.defaulted_inputs == alone.defaulted_inputs
        for head, column in alone.probability_by_head.items():
            np.testing.assert_allclose(answer.probability_by_head[head], column, rtol=1e-4, atol=1e-6)


async def test_answers_over_the_wire_do_not_depend_on_who_else_asks(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (leaf, _):

        async def save(size: tuple[int, int]) -> Floats:
            inputs = {name: numpy_to_tensor(value) for name, value in ask(*size).tensors.items()}
            response = await leaf.Score(pb.ScoreRequest(model="ranker", inputs=inputs), timeout=5)
            return tensor_to_numpy(response.outputs["save"]).astype(np.float32)

        alone = [await save(size) for size in SIZES]
        together = await asyncio.gather(*(save(size) for size in SIZES * 3))
    for row, column in enumerate(together):
        np.testing.assert_allclose(column, alone[row % len(SIZES)], rtol=1e-4, atol=1e-6)


async def test_a_request_that_is_invalid_fails_alone(hosted: HostedModel) -> None:
    whole = ask(2, 1).tensors
    broken = ScoreAsk({name: value for name, value in whole.items() if name != "candidate_pin"})
    async with _batcher() as (batcher, sizes):
        good, bad = await asyncio.gather(
            batcher.answer(hosted, ask(3, 2)), batcher.answer(hosted, broken), return_exceptions=True
        )
    assert sizes.seen == [2]
    assert isinstance(good, Answer)
    assert isinstance(bad, Invalid)


async def test_a_pass_takes_no_more_rows_than_it_may(hosted: HostedModel) -> None:
    async with _batcher(max_rows=20) as (batcher, sizes):
        answers = await asyncio.gather(*(batcher.answer(hosted, ask(9, 1)) for _ in range(5)))
    assert sizes.seen == [2, 2, 1]
    assert len(answers) == 5


async def test_too_many_that_wait_are_refused_and_who_gave_up_is_not_scored() -> None:
    model: Any = _Blocked()
    async with _batcher(wait_s=0.0, max_waiting=2) as (batcher, _):
        running = asyncio.create_task(batcher.answer(model, ScoreAsk({})))
        while not model.passes:
            await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(batcher.answer(model, ScoreAsk({}))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="2 requests wait"):
            await batcher.answer(model, ScoreAsk({}))
        waiting[0].cancel()
        model.may_end.set()
        await asyncio.gather(running, waiting[1])
    assert model.passes == [1, 1]
