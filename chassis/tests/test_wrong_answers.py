"""A door answers wrongly only where a setting allows it, and then exactly as the file says."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.errors import Unavailable
from chassis.grpc.wrong_answers import FILE, LOOK_EVERY_S, WrongAnswers, with_nan
from chassis.metrics import Metrics
from chassis.testing import FakeClock
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy

METHOD = "corkboard.ranker.v1.RankingService/Rank"
ASKED = pb.RankRequest(user_id="ann")


def answer(score: float = 0.5) -> pb.RankResponse:
    return pb.RankResponse(pins=[pb.RankedPin(pin_id="pin-1", score=score, score_by_head={"save": score})])


@pytest.fixture
def wrong(tmp_path: Path) -> WrongAnswers:
    return WrongAnswers(tmp_path, Metrics("test"), FakeClock())


def plan(tmp_path: Path, **fields: Any) -> None:
    (tmp_path / FILE).write_text(json.dumps(fields))


async def test_without_a_file_answers_are_as_they_are(wrong: WrongAnswers) -> None:
    assert await wrong.spoil(METHOD, ASKED, answer()) == answer()


async def test_each_kind_does_what_it_says(wrong: WrongAnswers, tmp_path: Path) -> None:
    plan(tmp_path, kind="empty")
    assert await wrong.spoil(METHOD, ASKED, answer()) == pb.RankResponse()


async def test_every_number_is_nan_in_maps_and_tensors_too() -> None:
    spoilt = with_nan(answer())
    assert math.isnan(spoilt.pins[0].score) and math.isnan(spoilt.pins[0].score_by_head["save"])
    assert spoilt.pins[0].pin_id == "pin-1"
    tensors = common.NamedTensors(by_name={"x": numpy_to_tensor(np.ones(3, np.float32))})
    assert np.isnan(tensor_to_numpy(with_nan(tensors).by_name["x"])).all()
    whole = numpy_to_tensor(np.ones(3, np.int64))
    assert with_nan(whole) == whole


async def test_a_stale_answer_is_the_first_one_to_this_request(wrong: WrongAnswers, tmp_path: Path) -> None:
    await wrong.spoil(METHOD, ASKED, answer(0.1))
    plan(tmp_path, kind="stale")
    wrong._clock.advance(LOOK_EVERY_S)  # type: ignore[attr-defined]
    assert await wrong.spoil(METHOD, ASKED, answer(0.9)) == answer(0.1)
    other = pb.RankRequest(user_id="ben")
    assert await wrong.spoil(METHOD, other, answer(0.9)) == answer(0.9)


async def test_an_error_is_unavailable_for_its_share_of_calls(wrong: WrongAnswers, tmp_path: Path) -> None:
    plan(tmp_path, kind="error", share=0.1)
    num_failed = 0
    for _ in range(1_000):
        try:
            await wrong.spoil(METHOD, ASKED, answer())
        except Unavailable:
            num_failed += 1
    assert 60 < num_failed < 140


async def test_another_method_is_left_alone(wrong: WrongAnswers, tmp_path: Path) -> None:
    plan(tmp_path, kind="error", method="Score")
    assert await wrong.spoil(METHOD, ASKED, answer()) == answer()


async def test_a_file_that_says_nothing_sensible_spoils_nothing(wrong: WrongAnswers, tmp_path: Path) -> None:
    plan(tmp_path, kind="earthquake")
    assert await wrong.spoil(METHOD, ASKED, answer()) == answer()
