"""The whole service on fakes, through its real gRPC door."""

from dataclasses import replace
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from pytest import approx

from chassis.testing import eventually
from protos.candidate_columns import decode_columns
from protos.cg.v1 import cg_pb2 as pb
from protos.common.v1 import common_pb2 as common
from protos.tables import batch_to_table
from services.cg.domain.retrieval import StoredVector
from services.cg.offline.fit_generators import Fitted
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.world import NOW_MS, NUM_PINS, pin, pin_id, vector

ALL = ("popular", "fresh", "co_engaged", "two_tower", "contextual")


def _ids(response: pb.RetrieveResponse) -> list[str]:
    return [candidate.pin_id for candidate in response.candidates]


def _missing(response: pb.RetrieveResponse) -> set[tuple[str, str]]:
    return {(item.component, item.reason) for item in response.degradations}


def _taste_share(response: pb.RetrieveResponse, taste: int) -> float:
    ids = _ids(response)
    return sum(int(name[-3:]) % 2 == taste for name in ids) / len(ids)


async def _release(cg: Running, fitted: Fitted) -> dict[str, str]:
    versions = await cg.release(fitted)

    async def is_swapped() -> bool:
        response = await cg.retrieve(generators=ALL)
        expected = {f"model:{name}": version for name, version in versions.items() if name in ALL}
        return expected == dict(response.versions.by_artifact)

    await eventually(is_swapped)
    return versions


async def test_before_any_model_popular_related_and_fresh_are_served(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as cg:
        home = await cg.retrieve()
        assert len(set(_ids(home))) == 20
        assert {("two_tower", "not_found"), ("co_engaged", "not_found")} <= _missing(home)
        related = await cg.retrieve(surface="related", subject_pin_id=pin_id(4), generators=["related"])
        assert pin_id(4) not in _ids(related)
        assert _taste_share(related, 0) == 1.0
        fresh = await cg.retrieve(generators=["fresh"], num_candidates=3)
        assert _ids(fresh) == [pin_id(NUM_PINS - 1), pin_id(NUM_PINS - 2), pin_id(NUM_PINS - 3)]


def _history(pin_ids: list[str], max_events: int = 512) -> common.History:
    events = {"pin_id": pin_ids, "event_type": ["save"] * len(pin_ids), "event_time_ms": [NOW_MS] * len(pin_ids)}
    table = batch_to_table(pa.RecordBatch.from_pydict(events))
    return common.History(sequence="engagement", events=table, max_events=max_events)


async def test_a_history_that_is_handed_on_is_not_read_again(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        saved = [pin_id(4), pin_id(8), pin_id(12)]
        cg.indexer.histories["ann"] = saved
        wanted = {"generators": ["two_tower", "contextual", "co_engaged"]}
        read = await cg.retrieve(**wanted)
        num_calls = cg.indexer.num_calls
        handed = await cg.retrieve(**wanted, history=_history(saved))
        assert cg.indexer.num_calls == num_calls
        assert list(handed.candidates) == list(read.candidates) and not handed.degradations
        too_short = await cg.retrieve(**wanted, history=_history([pin_id(5)], max_events=1))
        assert cg.indexer.num_calls == num_calls + 1
        assert list(too_short.candidates) == list(read.candidates)


async def test_columns_say_what_candidates_say(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as cg:
        wanted = {"generators": ["popular"], "num_candidates": NUM_PINS}
        cg.publish(replace(pin(1), content_group="twins"))

        async def has_twins() -> bool:
            return any(each.content_group for each in (await cg.retrieve(**wanted)).candidates)

        await eventually(has_twins)
        rows = (await cg.retrieve(**wanted)).candidates
        answer = await cg.retrieve(**wanted, wants_columns=True)
        columns = decode_columns(answer.columns)
    assert rows and not answer.candidates
    assert [each.pin_id for each in rows] == columns.pin_ids
    assert [each.generator for each in rows] == [columns.generators[at] for at in columns.generator_N]
    assert [each.score for each in rows] == approx(columns.score_N.tolist(), rel=1e-4), "it falls as time goes by"
    assert [each.rank for each in rows] == columns.rank_N.tolist()
    assert [each.content_group for each in rows] == (columns.content_groups or [""] * len(rows))
    (scores,) = columns.score_by_generator_NG.T.tolist()
    assert [each.score_by_generator["popular"] for each in rows] == approx(scores, rel=1e-4)


async def test_released_models_follow_the_taste_of_the_history(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        versions = await _release(cg, fitted)
        for taste in (0, 1):
            cg.indexer.histories["ann"] = [pin_id(number) for number in (2 + taste, 10 + taste, 20 + taste)]
            for generator in ("co_engaged", "two_tower", "contextual"):
                response = await cg.retrieve(generators=[generator], num_candidates=10)
                assert _taste_share(response, taste) >= 0.9, generator
                assert response.generators[0].index_version == versions[generator]


async def test_a_save_changes_the_next_retrieval(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        cg.indexer.histories["ann"] = [pin_id(2)]
        before = await cg.retrieve(generators=["two_tower"])
        cg.indexer.histories["ann"].append(pin_id(3))
        after = await cg.retrieve(generators=["two_tower"])
        assert _ids(before) != _ids(after)


async def test_a_pin_published_after_training_is_found_by_every_generator(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        cg.indexer.histories["ann"] = [pin_id(number) for number in (2, 10, 20)]
        cg.publish(pin(1_000, created_time_ms=NOW_MS))

        async def is_found() -> bool:
            places = [_ids(await cg.retrieve(generators=[name], num_candidates=60)) for name in ("fresh", "two_tower")]
            return all("pin-1000" in ids for ids in places) and places[0][0] == "pin-1000"

        await eventually(is_found, within_s=2.0)
        two_tower = _ids(await cg.retrieve(generators=["two_tower"], num_candidates=61))
        assert two_tower.index("pin-1000") < 40, "its content puts it among its own taste"
        cg.remove("pin-1000")
        await eventually(lambda: _gone(cg, "pin-1000"))


async def _gone(cg: Running, name: str) -> bool:
    return name not in _ids(await cg.retrieve(num_candidates=100))


async def test_filters_work_inside_the_search_so_k_is_honoured(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        first = _ids(await cg.retrieve(num_candidates=20))
        second = _ids(await cg.retrieve(num_candidates=20, exclude_pin_ids=first))
        assert len(second) == 20
        assert not set(first) & set(second)
        cg.publish(pin(2_000, locale="de-DE"))
        await eventually(lambda: _found(cg, "de", "pin-2000"))
        assert "pin-2000" not in _ids(await cg.retrieve(locale="en-GB", num_candidates=100))


async def _found(cg: Running, locale: str, name: str) -> bool:
    return _ids(await cg.retrieve(locale=locale, num_candidates=5)) == [name]


async def test_near_duplicates_are_returned_once_and_replaced(tmp_path: Path) -> None:
    async with running_cg(tmp_path, num_pins=0) as cg:
        for number in range(10):
            cg.publish(pin(number, content_group="same" if number < 5 else ""))
        await eventually(lambda: _count(cg, 6))
        response = await cg.retrieve(num_candidates=6, generators=["fresh"])
        assert [c.content_group for c in response.candidates].count("same") == 1


async def _count(cg: Running, count: int) -> bool:
    return len((await cg.retrieve(num_candidates=100)).candidates) == count


async def test_without_the_sequence_the_stored_vector_serves(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        versions = await _release(cg, fitted)
        cg.indexer.is_sequence_away = True
        user = fitted.user_ids.index("user-1")
        cg.indexer.vectors["ann", "two_tower"] = StoredVector(versions["two_tower"], fitted.user_UV[user])
        response = await cg.retrieve(generators=["two_tower"], num_candidates=10)
        assert _taste_share(response, 1) >= 0.9
        assert _missing(response) == {("sequence", "unavailable")}


async def test_a_stored_vector_of_another_version_is_refused_and_named(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        cg.indexer.vectors["ann", "two_tower"] = StoredVector("older", fitted.user_UV[0])
        response = await cg.retrieve(generators=["two_tower"])
        assert ("user_vector", "version_mismatch") in _missing(response)
        assert len(response.candidates) == 20


async def test_an_indexer_that_is_away_costs_the_history_only(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        cg.indexer.is_away = True
        response = await cg.retrieve()
        assert len(response.candidates) == 20
        assert ("sequence", "unavailable") in _missing(response)


async def test_one_retrieval_reads_the_sequence_once(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _release(cg, fitted)
        cg.indexer.num_calls = 0
        await cg.retrieve(generators=ALL)
        assert cg.indexer.num_calls == 1


async def test_a_corrupt_bundle_keeps_the_model_in_use(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        versions = await _release(cg, fitted)
        broken = {**fitted.files_by_name["two_tower"], "model.pt": b"not a model"}
        await cg.release(replace(fitted, files_by_name={"two_tower": broken}))
        response = await cg.retrieve(generators=["two_tower"])
        assert response.versions.by_artifact["model:two_tower"] == versions["two_tower"]


async def test_unknown_names_and_sizes_are_refused_with_the_field(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as cg:
        for fields, code in (
            ({"surface": "nowhere"}, grpc.StatusCode.NOT_FOUND),
            ({"num_candidates": 0}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"num_candidates": 2_001}, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await cg.retrieve(**fields)
            assert refused.value.code() == code


async def test_unknown_generator_and_subject_degrade_by_name(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as cg:
        response = await cg.retrieve(generators=["nonsense", "related"], subject_pin_id="nobody")
        assert {("nonsense", "not_found"), ("related", "not_found")} <= _missing(response)
        assert len(response.candidates) == 20, "popular stands in when no generator has anything"


async def test_pins_with_bad_vectors_stay_retrievable_without_them(tmp_path: Path) -> None:
    async with running_cg(tmp_path, num_pins=2) as cg:
        cg.publish(pin(50, content_vector=vector(1) * float("nan")))
        cg.publish(pin(51, content_vector=vector(1)[:3]))
        await eventually(lambda: _count(cg, 4))
        response = await cg.retrieve(generators=["related"], subject_pin_id=pin_id(0))
        assert _ids(response) == [pin_id(1)]
