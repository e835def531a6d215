"""The log of what models were given: the values as they were sent, of a bounded sample, never on a ranking's path."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.metrics import Metrics
from chassis.testing import InMemoryBus, eventually
from protos import topics
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import tensor_to_numpy
from services.ranker.domain.features import CANDIDATE, FEATURES
from services.ranker.domain.ranking import Payload, RankAsk, Scores, UserSequence
from services.ranker.domain.served_features import Asked, ServedFeatures, served_features
from services.ranker.outbound.kafka_served_features import MAX_WAITING, KafkaFeatureLog
from services.ranker.tests.recording_leaf import RecordingLeaf, untrained
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, FakeScorer, candidates, event, pin_id

EVERY: dict[str, Any] = {"feature_log_share": 1.0}
OUTCOMES = ("written", "failed", "dropped")


def _logged(bus: InMemoryBus) -> list[pb.ServedFeatures]:
    return [pb.ServedFeatures.FromString(record.value or b"") for record in bus.records(topics.FEATURES_SERVED)]


async def _one(bus: InMemoryBus) -> pb.ServedFeatures:
    await eventually(lambda: len(_logged(bus)) == 1)
    return _logged(bus)[0]


async def test_the_record_has_the_values_that_arrived_at_the_leaf(tmp_path: Path) -> None:
    world, leaf = World(tmp_path), RecordingLeaf()
    await world.release(untrained("popular"))
    events = tuple(event(number, age_s=60 * number) for number in (9, 8, 7))
    world.sequences.by_user["ann"] = UserSequence(events, 12, num_total=3, definitions_version="d-1")
    async with leaf.running() as address, world.root(leaf_target=address, **EVERY) as root:
        asked: Any = {"request_id": "r-1", "versions": {"by_artifact": {"model:two_tower": "t-1"}}}
        await rank(root, [4, 5, 6], **asked)
        found = await _one(world.bus)
    (sent,) = leaf.requests
    assert {name: tensor.data for name, tensor in found.inputs.by_name.items()} == {
        n: t.data for n, t in sent.inputs.items()
    }
    assert "score_related" not in found.inputs.by_name, "what is trimmed away no model was given"
    assert (found.request_id, found.user_id, found.surface) == ("r-1", "ann", "home")
    assert (found.request_time_ms, found.served_time_ms > NOW_MS) == (NOW_MS, True)
    assert (list(found.pin_ids), found.num_candidates) == ([pin_id(number) for number in (4, 5, 6)], 3)
    assert list(found.event_ids) == ["event-9", "event-8", "event-7"]
    assert (found.sequence_version, found.num_gapless_events, found.is_whole_history) == (12, 3, True)
    assert dict(found.versions.by_artifact) == {"definitions:sequence": "d-1", "model:two_tower": "t-1"}
    assert dict(found.num_pins_by_vector_version) == {"hash-1": 3}


async def test_the_version_and_the_defaults_are_those_that_the_leaf_said(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    scorer.defaulted_inputs = ("candidate_price",)
    world.pins.error = Unavailable("gone")
    async with world.root(scorer, **EVERY) as root:
        await rank(root, [1])
        found = await _one(world.bus)
    assert (found.model, found.model_version, list(found.defaulted_inputs)) == ("ranker", "v1", ["candidate_price"])
    assert [(each.component, each.level) for each in found.degradations] == [("pin_features", "default_features")]
    assert dict(found.num_pins_by_vector_version) == {"": 1}


async def test_what_no_model_scored_and_what_is_not_sampled_is_not_logged(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    async with world.root(scorer, feature_log_share=0.0) as root:
        await rank(root, [1])
    async with world.root(scorer, **EVERY) as root:
        scorer.error = Unavailable("gone")
        await rank(root, [1])
        scorer.error = None
        await rank(root, [1], request_id="scored")
        assert (await _one(world.bus)).request_id == "scored"


async def test_of_many_candidates_a_bounded_number_is_logged_with_their_own_rows(tmp_path: Path) -> None:
    world, leaf, numbers = World(tmp_path), RecordingLeaf(), list(range(40))
    fields: Any = {"feature_log_max_candidates": 7, **EVERY}
    async with leaf.running() as address, world.root(leaf_target=address, **fields) as root:
        await rank(root, numbers)
        found = await _one(world.bus)
    (sent,) = leaf.requests
    assert (len(set(found.pin_ids)), found.num_candidates) == (7, 40)
    rows = [numbers.index(int(name[-3:])) for name in found.pin_ids]
    assert rows == sorted(rows), "in the order of retrieval"
    for name, tensor in found.inputs.by_name.items():
        whole = tensor_to_numpy(sent.inputs[name])
        expected = whole[rows] if FEATURES[name].axis == CANDIDATE else whole
        np.testing.assert_array_equal(tensor_to_numpy(tensor), expected)


async def test_a_long_history_says_up_to_where_it_has_no_gap(tmp_path: Path) -> None:
    world, scorer = World(tmp_path), FakeScorer([0.1])
    events = tuple(event(number, age_s=1_000.0 - number) for number in range(20))
    world.sequences.by_user["ann"] = UserSequence(events, 12, num_total=50)
    async with world.root(scorer, max_history=8, newest_history=5, **EVERY) as root:
        await rank(root, [1])
        found = await _one(world.bus)
    assert (len(found.event_ids), found.num_gapless_events, found.is_whole_history) == (8, 5, False)
    assert list(found.event_ids)[-5:] == [f"event-{number}" for number in range(15, 20)]


class _Away:
    """Kafka that refuses, or never answers."""

    def __init__(self, hangs: bool = False) -> None:
        self._hangs = hangs

    async def send(self, *args: Any, **options: Any) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise Unavailable("Kafka is away")


def _log(metrics: Metrics, producer: Any = None, **options: Any) -> KafkaFeatureLog:
    kafka: Any = producer or _Away()
    return KafkaFeatureLog(kafka, metrics, "/ranker", **{"share": 1.0, "max_candidates": 5, **options})


def _record() -> ServedFeatures:
    asked = Asked(candidates([1]), (), Payload("ranker", {"candidate_pin": np.zeros(1, np.int64)}), UserSequence(), {})
    ask = RankAsk("ann", "home", asked.candidates, NOW_MS)
    scores = Scores({}, "ranker", "v1")
    return served_features(ask, asked, scores, (), num_newest=192, weights_version="", served_time_ms=NOW_MS)


def _outcomes(metrics: Metrics) -> dict[str, float]:
    found = {
        name: metrics.registry.get_sample_value("feature_log_records_total", {"outcome": name}) for name in OUTCOMES
    }
    return {name: value for name, value in found.items() if value}


def test_a_full_queue_drops_and_counts_and_makes_nothing() -> None:
    metrics = Metrics("test")
    log = _log(metrics)
    for _ in range(MAX_WAITING):
        log.offer(_record)
    log.offer(lambda: pytest.fail("a record was made that nobody takes"))
    assert _outcomes(metrics) == {"dropped": 1}


async def test_kafka_away_costs_a_ranking_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.root(FakeScorer([0.1]), **EVERY) as root:
        world.bus.is_available = False
        response = await rank(root, [1])
        assert not response.degradations
    assert _logged(world.bus) == []


async def test_a_record_that_kafka_refuses_is_counted_and_the_next_is_tried() -> None:
    metrics = Metrics("test")
    log = _log(metrics)
    async with asyncio.TaskGroup() as tasks:
        await log.start(tasks)
        for number in (1, 2):
            log.offer(_record)
            await eventually(lambda number=number: _outcomes(metrics) == {"failed": number})  # type: ignore[misc]
        await log.stop(Deadline.after(1))


async def test_a_stop_waits_no_longer_than_it_may_and_counts_what_is_left() -> None:
    metrics = Metrics("test")
    log = _log(metrics, _Away(hangs=True))
    async with asyncio.TaskGroup() as tasks:
        await log.start(tasks)
        for _ in range(3):
            log.offer(_record)
        await log.stop(Deadline.after(0.2))
    assert _outcomes(metrics) == {"dropped": 3}


def test_the_share_is_of_rankings() -> None:
    log, made = _log(Metrics("test"), share=0.02, dice=random.Random(7)), []

    def make() -> ServedFeatures:
        made.append(_record())
        return made[-1]

    for _ in range(2_000):
        log.offer(make)
    assert 25 <= len(made) <= 60
