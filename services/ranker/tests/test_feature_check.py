"""Online against offline on rankings that a real root logged: nothing to say when both sides agree, and every planted
skew is found under the name of its feature."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.errors import Unavailable
from chassis.testing import eventually
from protos import topics
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.domain.ranking import UserSequence
from services.ranker.offline.feature_check import main
from services.ranker.offline.logged_rankings import PastEvent
from services.ranker.tests.lake_files import LONG_AGO_MS, LakeFiles
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, FakeScorer, event, pin_id, vector

READ = tuple(event(number, age_s=3_600.0 - number) for number in range(6))
COMPARED = {
    *("history_pin", "history_content", "history_event_type", "history_age_s", "history_events"),
    *("candidate_pin", "candidate_content", "candidate_age_s", "candidate_price", "surface"),
}
NUMBERS = [10, 11, 12, 13]


async def logged(tmp_path: Path, change: Callable[[World], None] = lambda _: None, **fields: Any) -> pb.ServedFeatures:
    """What a root logged of one ranking for a user with six events."""
    world = World(tmp_path)
    world.sequences.by_user["ann"] = UserSequence(READ, 7, len(READ), "d-1")
    change(world)
    async with world.root(FakeScorer([0.1] * len(NUMBERS)), feature_log_share=1.0, **fields) as root:
        await rank(root, NUMBERS, request_id="r-1")
        await eventually(lambda: len(world.bus.records(topics.FEATURES_SERVED)) == 1)
    (record,) = world.bus.records(topics.FEATURES_SERVED)
    return pb.ServedFeatures.FromString(record.value or b"")


def lake() -> LakeFiles:
    """All that the root read, known long before."""
    past = [PastEvent(e.event_id, e.pin_id, e.event_type, e.event_time_ms, LONG_AGO_MS) for e in READ]
    return LakeFiles({"ann": past})


Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(files: LakeFiles, *rankings: pb.ServedFeatures) -> dict[str, Any]:
        assert main(["--folder", str(files.write(tmp_path / "files", rankings))]) == 0
        *steps, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert steps and all("progress" in step for step in steps)
        result: dict[str, Any] = last["result"]
        return result

    return run


def skewed(report: dict[str, Any]) -> dict[str, set[str]]:
    """Feature -> which shares are not 0."""
    found = {
        name: {share for share in ("different", "defaulted", "missing") if row[f"{share}_share"]}
        for name, row in report["features"].items()
    }
    return {name: shares for name, shares in found.items() if shares}


def changed(served: pb.ServedFeatures, name: str, value: Any) -> pb.ServedFeatures:
    """The same record with other values of one input."""
    copy = pb.ServedFeatures()
    copy.CopyFrom(served)
    copy.inputs.by_name[name].CopyFrom(numpy_to_tensor(value))
    return copy


def values(served: pb.ServedFeatures, name: str) -> Any:
    return tensor_to_numpy(served.inputs.by_name[name])


async def test_what_both_sides_know_alike_is_no_skew(tmp_path: Path, check: Check) -> None:
    report = check(lake(), await logged(tmp_path))
    assert skewed(report) == {}
    assert report["features"].keys() == COMPARED
    assert {name: row["num_values"] for name, row in report["features"].items()} == {
        name: len(READ) if name.startswith("history") else len(NUMBERS) for name in COMPARED
    }
    assert report["not_compared"]["score_popular"]["unknown_share"] == 0.0
    assert report["not_compared"]["score_related"]["unknown_share"] == 1.0
    assert report["versions"] == [
        {"content_vector": "hash-1", "definitions:sequence": "d-1", "model:ranker": "v1", "num_rankings": 1}
    ]


async def test_a_user_without_a_past_is_compared_too(tmp_path: Path, check: Check) -> None:
    served = await logged(tmp_path, lambda world: world.sequences.by_user.clear())
    report = check(LakeFiles(), served)
    assert skewed(report) == {}
    assert report["features"]["candidate_age_s"]["num_values"] == len(NUMBERS)


@pytest.mark.parametrize("name", ["history_age_s", "candidate_age_s"])
async def test_ages_in_another_unit_are_named(tmp_path: Path, check: Check, name: str) -> None:
    served = await logged(tmp_path)
    report = check(lake(), changed(served, name, values(served, name) * 1_000))
    assert skewed(report) == {name: {"different"}}
    assert report["features"][name]["different_share"] == 1.0
    example = report["features"][name]["examples"][0]
    assert float(example["online"]) == pytest.approx(1_000 * float(example["training"]), rel=1e-5)
    assert (example["request_id"], example["user_id"]) == ("r-1", "ann")


async def test_another_price_in_one_store_is_named_with_its_share(tmp_path: Path, check: Check) -> None:
    files = lake()
    files.pins[pin_id(11)].price_micros = 7_000_000
    report = check(files, await logged(tmp_path))
    assert skewed(report) == {"candidate_price": {"different"}}
    assert report["features"]["candidate_price"]["different_share"] == 1 / len(NUMBERS)
    assert report["features"]["candidate_price"]["examples"][0]["row"] == pin_id(11)


async def test_a_stale_vector_is_named_where_it_is_read(tmp_path: Path, check: Check) -> None:
    files = lake()
    for number in (3, 12):  # one of the history, one candidate
        files.pins[pin_id(number)].content_vector = vector(number + 40)
    assert skewed(check(files, await logged(tmp_path))) == {
        "candidate_content": {"different"},
        "history_content": {"different"},
    }


async def test_a_pin_that_changed_around_the_request_or_since_is_not_held_against_it(
    tmp_path: Path, check: Check
) -> None:
    files = lake()
    for number, time_ms in ((11, NOW_MS + 5_000), (12, NOW_MS - 30_000)):
        pin = files.pins[pin_id(number)]
        pin.price_micros, pin.content_vector, pin.enriched_time_ms = 9, vector(50), time_ms
    report = check(files, await logged(tmp_path))
    assert skewed(report) == {}
    assert report["features"]["candidate_price"]["num_changed"] == 2
    assert report["features"]["candidate_price"]["num_values"] == len(NUMBERS) - 2


async def test_a_pin_or_an_event_that_training_lacks_is_missing(tmp_path: Path, check: Check) -> None:
    files = lake()
    del files.pins[pin_id(11)]
    files.events["ann"] = files.events["ann"][1:]
    report = check(files, await logged(tmp_path))
    of_pin = {name: {"missing"} for name in ("candidate_content", "candidate_age_s", "candidate_price")}
    of_event = {name: {"missing"} for name in COMPARED if name.startswith("history")}
    assert skewed(report) == of_pin | of_event


async def test_what_was_not_known_online_is_defaulted(tmp_path: Path, check: Check) -> None:
    def away(world: World) -> None:
        world.pins.error = Unavailable("gone")

    found = skewed(check(lake(), await logged(tmp_path, away)))
    names = ("history_content", "candidate_content", "candidate_age_s", "candidate_price")
    assert found == {name: {"defaulted"} for name in names}


async def test_an_input_that_the_leaf_replaced_is_defaulted(tmp_path: Path, check: Check) -> None:
    served = await logged(tmp_path)
    served.defaulted_inputs.append("surface")
    assert skewed(check(lake(), served)) == {"surface": {"defaulted"}}
    misshapen = changed(await logged(tmp_path / "other"), "history_age_s", np.zeros(2, np.float32))
    assert skewed(check(lake(), misshapen)) == {"history_age_s": {"defaulted"}}


async def test_an_event_that_should_have_been_read_is_named(tmp_path: Path, check: Check) -> None:
    files = lake()
    files.events["ann"].insert(3, PastEvent("lost", pin_id(5), "save", READ[2].event_time_ms + 1, LONG_AGO_MS))
    report = check(files, await logged(tmp_path))
    assert skewed(report) == {"history_events": {"different"}}
    assert report["features"]["history_events"]["examples"][0]["row"] == "lost"


async def test_late_events_are_no_skew_and_are_counted(tmp_path: Path, check: Check) -> None:
    """They happened before the request and were not in the version of the sequence that was read."""
    files = lake()
    for name, enriched_ms in (("after", NOW_MS + 600_000), ("on its way", NOW_MS - 2_000)):
        files.events["ann"].insert(3, PastEvent(name, pin_id(5), "save", READ[2].event_time_ms + 1, enriched_ms))
    files.events["ann"].append(PastEvent("next", pin_id(6), "save", NOW_MS + 1, NOW_MS + 2))
    report = check(files, await logged(tmp_path))
    assert skewed(report) == {}
    assert report["events"] == {"late": 2, "ahead": 0, "rankings_without_sequence": 0}


async def test_what_neither_training_nor_the_sequence_reads_is_not_expected(tmp_path: Path, check: Check) -> None:
    files = lake()
    files.events["ann"].insert(3, PastEvent("hidden", pin_id(5), "hide", READ[2].event_time_ms + 1, LONG_AGO_MS))
    assert skewed(check(files, await logged(tmp_path))) == {}


async def test_a_type_that_only_the_sequence_has_is_missing_in_training(tmp_path: Path, check: Check) -> None:
    files = lake()
    files.events["ann"][2] = replace(files.events["ann"][2], event_type="hide")
    of_event = {name: {"missing"} for name in COMPARED if name.startswith("history")}
    assert skewed(check(files, await logged(tmp_path))) == of_event


async def test_an_event_from_a_clock_that_is_ahead_is_counted_and_not_compared(tmp_path: Path, check: Check) -> None:
    ahead, files = event(20, age_s=-30.0), lake()
    files.events["ann"].append(PastEvent("event-20", pin_id(20), "save", ahead.event_time_ms, NOW_MS - 5))

    def add(world: World) -> None:
        world.sequences.by_user["ann"] = UserSequence((*READ, ahead), 8, 7)

    report = check(files, await logged(tmp_path, add))
    assert skewed(report) == {}
    assert report["events"]["ahead"] == 1


async def test_another_order_is_named(tmp_path: Path, check: Check) -> None:
    def swap(world: World) -> None:
        world.sequences.by_user["ann"] = UserSequence((READ[1], READ[0], *READ[2:]), 7, len(READ))

    assert skewed(check(lake(), await logged(tmp_path, swap))) == {"history_events": {"different"}}


async def test_another_type_of_an_event_is_named(tmp_path: Path, check: Check) -> None:
    files = lake()
    files.events["ann"][2] = replace(files.events["ann"][2], event_type="click")
    assert skewed(check(files, await logged(tmp_path))) == {"history_event_type": {"different"}}


async def test_of_a_long_history_only_what_had_to_be_read_is_expected(tmp_path: Path, check: Check) -> None:
    """The newest three, and one of the older ones for its nearness; the store holds more than is read."""
    files = lake()
    files.events["ann"].insert(0, PastEvent("old", pin_id(1), "save", READ[0].event_time_ms - 9, LONG_AGO_MS))
    fields: Any = {"max_history": 4, "newest_history": 3}
    served = await logged(tmp_path, **fields)
    assert (len(served.event_ids), served.num_gapless_events) == (4, 3)
    assert skewed(check(files, served)) == {}
    files.events["ann"].insert(-1, PastEvent("lost", pin_id(5), "save", READ[-1].event_time_ms - 1, LONG_AGO_MS))
    assert skewed(check(files, served)) == {"history_events": {"different"}}


async def test_without_a_sequence_the_history_is_not_compared(tmp_path: Path, check: Check) -> None:
    def away(world: World) -> None:
        world.sequences.error = Unavailable("gone")

    report = check(lake(), await logged(tmp_path, away))
    assert skewed(report) == {}
    assert report["events"]["rankings_without_sequence"] == 1
    assert not [name for name in report["features"] if name.startswith("history")]


async def test_many_rankings_add_up(tmp_path: Path, check: Check) -> None:
    served = await logged(tmp_path)
    other = changed(served, "candidate_price", values(served, "candidate_price") + 1)
    other.model_version = "v2"
    report = check(lake(), *[served] * 60, *[other] * 20)
    assert report["num_rankings"] == 80
    assert report["features"]["candidate_price"]["different_share"] == pytest.approx(0.25)
    assert [(row["model:ranker"], row["num_rankings"]) for row in report["versions"]] == [("v1", 60), ("v2", 20)]


def test_files_that_are_none_are_an_error_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path)]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["status"] == "DATA_LOSS" and str(tmp_path) in error["message"]
