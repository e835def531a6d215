"""The root through its real door, with a fake leaf: what it sends, what it answers, how it degrades."""

import math
from dataclasses import asdict
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from chassis.errors import DeadlineExceeded, Unavailable
from protos import telemetry
from protos.candidate_columns import CandidateColumns, encode_columns
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tables import batch_to_table
from protos.tensors import tensor_to_numpy
from services.ranker.app import rank as rank_module
from services.ranker.domain.event_columns import EVENTS
from services.ranker.domain.ranking import UserSequence
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, FakeScorer, event, pin_id


def _missing(response: object) -> set[tuple[str, str, str]]:
    return {(item.component, item.reason, item.level) for item in response.degradations}  # type: ignore[attr-defined]


def _ids(response: object) -> list[str]:
    return [pin.pin_id for pin in response.pins]  # type: ignore[attr-defined]


async def test_pins_are_ordered_by_utility_with_their_heads(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.9, 0.5])
    async with world.root(scorer) as root:
        response = await rank(root, [4, 5, 6])
    assert _ids(response) == [pin_id(5), pin_id(6), pin_id(4)]
    assert response.pins[0].score_by_head["click"] == pytest.approx(0.9)
    assert response.versions.by_artifact == {"model:ranker": "v1"}
    assert not response.degradations


async def test_no_candidates_is_an_empty_answer_without_any_call(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.root(FakeScorer()) as root:
        response = await rank(root, [])
    assert not response.pins
    assert world.sequences.num_calls == 0


async def test_duplicates_are_scored_once(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.2])
    async with world.root(scorer) as root:
        response = await rank(root, [7, 8, 7, 7])
    assert sorted(_ids(response)) == [pin_id(7), pin_id(8)]
    assert len(scorer.seen[0]["candidate_pin"]) == 2


@pytest.mark.parametrize(
    ("error", "reason"), [(Unavailable("gone"), "unavailable"), (DeadlineExceeded("slow"), "deadline_exceeded")]
)
async def test_a_leaf_that_fails_gives_retrieval_order_by_name(tmp_path: Path, error: Exception, reason: str) -> None:
    world, scorer = World(tmp_path), FakeScorer()
    scorer.error = error  # type: ignore[assignment]
    async with world.root(scorer) as root:
        response = await rank(root, [9, 3, 5])
    assert _ids(response) == [pin_id(9), pin_id(3), pin_id(5)]
    assert [pin.score for pin in response.pins] == sorted((pin.score for pin in response.pins), reverse=True)
    assert _missing(response) == {("ranker_leaf", reason, "retrieval_order")}


async def test_a_leaf_that_is_not_there_gives_retrieval_order(tmp_path: Path) -> None:
    async with World(tmp_path).root(leaf_target="127.0.0.1:1") as root:
        response = await rank(root, [9, 3])
    assert _ids(response) == [pin_id(9), pin_id(3)]
    assert {item.component for item in response.degradations} == {"ranker_leaf"}


async def test_a_nan_score_never_wins_and_is_named(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([math.nan, 0.2, math.inf, 0.1])
    async with world.root(scorer) as root:
        response = await rank(root, [1, 2, 3, 4])
        assert _ids(response) == [pin_id(2), pin_id(4), pin_id(1), pin_id(3)]
        assert _missing(response) == {("ranker_leaf", "not_finite", "some_in_retrieval_order")}
        scorer.probability = [math.nan] * 4
        response = await rank(root, [1, 2, 3, 4])
        assert _ids(response) == [pin_id(number) for number in (1, 2, 3, 4)]
        assert _missing(response) == {("ranker_leaf", "not_finite", "retrieval_order")}
    assert all(math.isfinite(pin.score) for pin in response.pins)


async def test_a_missing_sequence_is_named_and_scored_without_history(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.9])
    world.sequences.error = Unavailable("gone")
    async with world.root(scorer) as root:
        response = await rank(root, [1, 2])
    assert _ids(response) == [pin_id(2), pin_id(1)]
    assert _missing(response) == {("sequence", "unavailable", "history_free")}
    assert len(scorer.seen[0]["history_pin"]) == 0


async def test_missing_pin_features_are_named_and_take_defaults(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.9])
    world.pins.error = Unavailable("gone")
    async with world.root(scorer) as root:
        response = await rank(root, [1, 2])
    assert _ids(response) == [pin_id(2), pin_id(1)]
    assert _missing(response) == {("pin_features", "unavailable", "default_features")}


async def test_candidates_are_read_beside_the_sequence_then_its_pins_then_the_cache(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.9])
    world.sequences.by_user["ann"] = UserSequence((event(7),), 12)
    async with world.root(scorer) as root:
        response = await rank(root, [1, 2])
        assert response.sequence_version == 12
        assert world.sequences.num_calls == 1
        assert [sorted(asked) for asked in world.pins.asked] == [[pin_id(1), pin_id(2)], [pin_id(7)]]
        await rank(root, [1, 2])
        assert len(world.pins.asked) == 2, "the second ranking finds every pin in the cache"


async def test_a_history_that_is_handed_on_is_not_read_again(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1, 0.9])
    events = tuple(event(n, age_s=60, trace=n) for n in (3, 7))
    world.sequences.by_user["ann"] = UserSequence(events, 12, 2, "d-1")
    table = batch_to_table(pa.RecordBatch.from_pylist([asdict(each) for each in events], schema=EVENTS))
    history = common.History(sequence="engagement", events=table, max_events=512, sequence_version=12, num_total=2)
    async with world.root(scorer) as root:
        read = await rank(root, [1, 2])
        handed = await rank(root, [1, 2], history=history)
        assert world.sequences.num_calls == 1
        await rank(root, [1, 2], history=common.History(sequence="engagement", max_events=511, events=table))
        assert world.sequences.num_calls == 2, "the ranker reads more than that"
    assert handed == read and handed.influencing_events
    first, second, _ = scorer.seen
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


async def test_recent_events_are_named_as_influencing_newest_first(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    events = [event(n, age_s=900 - 60 * n, trace=n + 1) for n in range(15)]  # five are older than ten minutes
    world.sequences.by_user["ann"] = UserSequence(tuple(events), 3)
    async with world.root(scorer) as root:
        response = await rank(root, [1])
    assert [item.event_id for item in response.influencing_events] == [f"event-{n}" for n in range(14, 4, -1)]
    assert response.influencing_events[0].traceparent == events[14].traceparent


def test_the_span_has_the_name_that_the_trace_contract_gives() -> None:
    assert rank_module.SPAN == telemetry.RANK_SPAN


async def test_what_is_sent_is_trimmed_to_the_released_signature(tmp_path: Path, fitted: FittedRanker) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    async with world.root(scorer) as root:
        await rank(root, [1])
        assert "score_two_tower" in scorer.seen[0], "an unknown model gets everything"
    await world.release(fitted)
    async with world.root(scorer) as root:
        await rank(root, [1])
    assert "score_co_engaged" in scorer.seen[1]
    assert "score_two_tower" not in scorer.seen[1]


async def test_missing_retrieval_scores_are_told_apart_from_zero(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    async with world.root(scorer) as root:
        await rank(root, [1])
    assert scorer.seen[0]["score_popular"] == np.asarray([1.0], dtype=np.float32)
    assert scorer.seen[0]["score_co_engaged"][0] < -1e5


async def test_too_many_candidates_are_refused_with_the_field(tmp_path: Path) -> None:
    async with World(tmp_path).root(FakeScorer()) as root:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rank(root, list(range(2_001)))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "2001 candidates" in str(refused.value.details())


async def test_columns_are_answered_with_columns_that_say_the_same(tmp_path: Path) -> None:
    world, given = World(tmp_path), [7, 8, 7, 9]
    columns = CandidateColumns(
        [pin_id(number) for number in given],
        ["popular", "fresh"],
        np.zeros(4, dtype=np.int32),
        1.0 / np.arange(1, 5),
        np.arange(4, dtype=np.int32),
        np.array([[1.0, np.nan], [2.0, 0.5], [1.0, np.nan], [np.nan, 0.25]]),
    )
    rows = pb.RankRequest(user_id="ann", surface="home", request_time_ms=NOW_MS)
    for place, number in enumerate(given):
        scores = dict(zip(columns.generators, columns.score_by_generator_NG[place].tolist(), strict=True))
        rows.candidates.add(
            pin_id=pin_id(number),
            retrieval_score=columns.score_N[place],
            retrieval_rank=place,
            score_by_generator={name: score for name, score in scores.items() if not np.isnan(score)},
        )
    asked = pb.RankRequest(user_id="ann", surface="home", request_time_ms=NOW_MS, columns=encode_columns(columns))
    scorer = FakeScorer([0.1, 0.2, 0.3])
    async with world.root(scorer) as root:
        plain = await root.Rank(rows, timeout=5)
        found = await root.Rank(asked, timeout=5)
    assert not found.pins and plain.pins
    pins = [columns.pin_ids[row] for row in tensor_to_numpy(found.columns.candidate).tolist()]
    assert pins == [pin.pin_id for pin in plain.pins]
    assert tensor_to_numpy(found.columns.score).tolist() == [pin.score for pin in plain.pins]
    heads = [dict(zip(found.columns.heads, row, strict=True)) for row in tensor_to_numpy(found.columns.score_by_head)]
    assert heads == [dict(pin.score_by_head) for pin in plain.pins]
    for name, tensor in scorer.seen[0].items():
        np.testing.assert_array_equal(tensor, scorer.seen[1][name], err_msg=name)


async def test_no_columns_are_answered_with_none_and_bad_ones_are_refused(tmp_path: Path) -> None:
    async with World(tmp_path).root(FakeScorer()) as root:
        empty = pb.RankRequest(user_id="ann", surface="home", columns=common.CandidateColumns())
        answer = await root.Rank(empty, timeout=5)
        assert answer.HasField("columns") and not answer.columns.candidate.shape[0]
        empty.columns.pin_ids.append(pin_id(1))
        with pytest.raises(grpc.aio.AioRpcError, match=r"columns\.generator") as caught:
            await root.Rank(empty, timeout=5)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
