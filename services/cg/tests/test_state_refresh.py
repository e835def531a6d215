"""A user's stored states follow the sequence: counted from the topic of events, made beside the requests, published."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kafka import arrow
from chassis.testing import eventually
from protos import event_schema
from protos.indexer.v1.indexer_pb2 import UserEmbedding
from protos.tensors import tensor_to_numpy
from protos.topics import EMBEDDINGS_PUBLISHED, EVENTS_ENRICHED
from services.cg.domain.moved_users import MovedUsers
from services.cg.domain.retrieval import StoredVector
from services.cg.inbound.moved_sequences import events_by_user
from services.cg.offline.fit_generators import Fitted
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.world import pin_id

ONLY = ("contextual",)
TASTE = [pin_id(number) for number in range(1, 16, 2)]


def envelope(*events: tuple[str, str]) -> pa.RecordBatch:
    """Enriched events by user and type; the other columns are empty."""
    rows: list[dict[str, Any]] = []
    for number, (user_id, event_type) in enumerate(events):
        blank = {field.name: 0 if pa.types.is_integer(field.type) else "" for field in event_schema.ACCEPTED}
        rows.append(
            {**blank, "event_id": f"e-{number}", "user_id": user_id, "event_type": event_type, "attributes": b""}
        )
    return pa.RecordBatch.from_pylist(rows, schema=event_schema.ACCEPTED)


def test_only_events_of_the_sequence_count() -> None:
    batch = envelope(("ann", "save"), ("ann", "view"), ("bob", "view"), ("ann", "save"))
    assert events_by_user(batch, frozenset({"save"})) == {"ann": 2}
    assert events_by_user(batch, frozenset()) == {"ann": 3, "bob": 1}


def test_a_user_is_due_after_the_nth_event_and_the_settling_time_and_then_counts_anew() -> None:
    moved = MovedUsers(3, settle_s=1.0)
    assert moved.moved({"ann": 2, "bob": 1}, 10.0) == 0
    assert moved.take_due(100.0, 10) == []
    moved.moved({"ann": 1}, 100.0)
    assert moved.take_due(100.5, 10) == []
    moved.moved({"ann": 5}, 100.7)
    assert moved.take_due(101.0, 10) == ["ann"], "events while it waits do not put it off"
    moved.moved({"ann": 2}, 102.0)
    assert moved.take_due(200.0, 10) == []


def test_a_full_waiting_list_keeps_the_count_and_says_so() -> None:
    moved = MovedUsers(1, settle_s=0.0, max_waiting=1)
    assert moved.moved({"ann": 1, "bob": 1}, 0.0) == 1
    assert moved.take_due(0.0, 10) == ["ann"]
    assert moved.moved({"bob": 1}, 1.0) == 0
    assert moved.take_due(1.0, 10) == ["bob"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), max_size=60),
    st.integers(1, 5),
)
def test_nobody_is_due_twice_for_the_same_events_and_nobody_is_forgotten(
    steps: list[tuple[int, int]], num_events: int
) -> None:
    moved, since, taken = MovedUsers(num_events, settle_s=0.0), dict.fromkeys("abcde", 0), 0
    for now, (user, count) in enumerate(steps):
        name = "abcde"[user]
        since[name] += count
        moved.moved({name: count}, float(now))
        due = moved.take_due(float(now), 10)
        assert due == ([name] if since[name] >= num_events else [])
        for each in due:
            since[each], taken = 0, taken + 1
    assert taken <= sum(count for _, count in steps) // num_events


async def _published(cg: Running) -> list[UserEmbedding]:
    return [UserEmbedding.FromString(record.value or b"") for record in cg.bus.records(EMBEDDINGS_PUBLISHED)]


async def _swapped(cg: Running, version: str) -> bool:
    response = await cg.retrieve(generators=ONLY)
    return response.versions.by_artifact["model:contextual"] == version


@pytest.fixture
def quick() -> dict[str, Any]:
    return {"state_refresh_events": 3, "state_refresh_delay_s": 0.0}


async def test_states_are_published_with_the_version_in_use_and_serve_when_the_sequence_cannot_be_read(
    tmp_path: Path, fitted: Fitted, quick: dict[str, Any]
) -> None:
    async with running_cg(tmp_path, **quick) as cg:
        version = (await cg.release(fitted))["contextual"]
        await eventually(lambda: _swapped(cg, version), within_s=10.0)
        cg.indexer.histories["ann"] = TASTE
        cg.bus.append(EVENTS_ENRICHED, b"no Arrow stream", b"0", 0, {})
        cg.bus.append(EVENTS_ENRICHED, arrow.encode(envelope(("ann", "save"), ("bob", "save"))), b"0", 0, {})
        cg.bus.append(EVENTS_ENRICHED, arrow.encode(envelope(("ann", "save"), ("ann", "save"))), b"0", 0, {})
        await eventually(lambda: len(cg.bus.records(EMBEDDINGS_PUBLISHED)) >= 2, within_s=10.0)
        found = {each.vector.encoder: each for each in await _published(cg)}
        assert set(found) == {"two_tower", "contextual"}
        keys = {record.key for record in cg.bus.records(EMBEDDINGS_PUBLISHED)}
        assert keys == {b"ann", b"ann/contextual"}, "compaction must not let one encoder take the other's away"
        state = found["contextual"]
        assert (state.user_id, state.vector.encoder_version) == ("ann", version)
        fresh = await cg.retrieve(generators=ONLY)
        cg.indexer.is_sequence_away = True
        cg.indexer.vectors["ann", "contextual"] = StoredVector(version, tensor_to_numpy(state.vector.vector))
        stored = await cg.retrieve(generators=ONLY)
        assert [each.pin_id for each in stored.candidates] == [each.pin_id for each in fresh.candidates]


async def test_an_indexer_that_is_away_delays_a_state_and_takes_nothing_from_requests(
    tmp_path: Path, fitted: Fitted, quick: dict[str, Any]
) -> None:
    async with running_cg(tmp_path, **quick) as cg:
        version = (await cg.release(fitted))["contextual"]
        await eventually(lambda: _swapped(cg, version), within_s=10.0)
        cg.indexer.histories["ann"] = TASTE
        cg.indexer.is_away = True
        cg.bus.append(EVENTS_ENRICHED, arrow.encode(envelope(*[("ann", "save")] * 3)), b"0", 0, {})
        await eventually(lambda: cg.indexer.num_calls >= 3, within_s=5.0)
        assert (await cg.retrieve()).candidates
        assert not cg.bus.records(EMBEDDINGS_PUBLISHED)
        cg.indexer.is_away = False
        await eventually(lambda: len(cg.bus.records(EMBEDDINGS_PUBLISHED)) >= 2, within_s=5.0)


async def test_with_stored_states_the_request_runs_no_transformer(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path, contextual_state="stored", state_refresh_events=0) as cg:
        version = (await cg.release(fitted))["contextual"]
        await eventually(lambda: _swapped(cg, version), within_s=10.0)
        cg.indexer.histories["ann"] = TASTE
        without = await cg.retrieve(generators=ONLY)
        assert ("hidden_state", "not_found") in {(each.component, each.reason) for each in without.degradations}
        hidden_D = fitted.hidden_UD[fitted.user_ids.index("user-0")]
        cg.indexer.vectors["ann", "contextual"] = StoredVector(version, hidden_D)
        response = await cg.retrieve(generators=ONLY, num_candidates=10)
        assert not response.degradations
        share = np.mean([int(each.pin_id[-3:]) % 2 == 0 for each in response.candidates])
        assert share >= 0.9, "the stored taste decides, not the history's"
        cg.indexer.vectors["ann", "contextual"] = StoredVector("older", hidden_D)
        refused = await cg.retrieve(generators=ONLY)
        assert ("hidden_state", "version_mismatch") in {(e.component, e.reason) for e in refused.degradations}
        assert [e.pin_id for e in refused.candidates] == [e.pin_id for e in without.candidates]
