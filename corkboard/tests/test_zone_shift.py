"""A shift takes a zone's doors away and gives them back, whatever happens meanwhile."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chassis.errors import Conflict, Invalid, NotFound, Unavailable
from corkboard.commands.zone import duration_s
from corkboard.zone_shift import REPLICAS, Workload, restore, shifted

APPS = ("blender", "ingest", "enrich", "cg", "indexer")


class InMemoryWorkloads:
    """Pods come and go at once."""

    def __init__(self, *zones: str) -> None:
        self.by_name = {
            f"{app}-{zone}": Workload(f"{app}-{zone}", app, zone, 2, 2, {}) for zone in zones for app in APPS
        }

    def list(self) -> Sequence[Workload]:
        return list(self.by_name.values())

    def scale(self, name: str, replicas: int, annotation: str | None) -> None:
        notes = {} if annotation is None else {REPLICAS: annotation}
        self.by_name[name] = replace(self.by_name[name], replicas=replicas, ready=replicas, annotations=notes)

    def ready(self, zone: str) -> dict[str, int]:
        return {one.app: one.ready for one in self.list() if one.zone == zone}


def test_doors_go_and_come_back_and_the_rest_stays() -> None:
    workloads = InMemoryWorkloads("az-a", "az-b")
    with shifted(workloads, "az-b", lambda _: None):
        assert workloads.ready("az-b") == {"blender": 0, "ingest": 0, "enrich": 2, "cg": 2, "indexer": 2}
        assert set(workloads.ready("az-a").values()) == {2}
    assert set(workloads.ready("az-b").values()) == {2}
    assert not any(one.annotations for one in workloads.list())


def test_an_error_or_a_key_brings_the_zone_back() -> None:
    workloads = InMemoryWorkloads("az-a", "az-b")
    with pytest.raises(KeyboardInterrupt), shifted(workloads, "az-b", lambda _: None):
        raise KeyboardInterrupt
    assert set(workloads.ready("az-b").values()) == {2}


def test_a_shift_whose_command_died_is_ended_by_another() -> None:
    workloads = InMemoryWorkloads("az-a", "az-b")
    workloads.scale("blender-az-b", 0, "3")
    assert restore(workloads, "az-b", lambda _: None) == ["blender-az-b"]
    assert workloads.by_name["blender-az-b"].replicas == 3
    assert restore(workloads, "az-b", lambda _: None) == []


def test_two_zones_are_never_away_at_once() -> None:
    workloads = InMemoryWorkloads("az-a", "az-b", "az-c")
    with (
        shifted(workloads, "az-b", lambda _: None),
        pytest.raises(Conflict, match="az-b is shifted"),
        shifted(workloads, "az-a", lambda _: None),
    ):
        pass
    assert set(workloads.ready("az-a").values()) == {2}


def test_the_last_zone_with_a_door_is_not_taken() -> None:
    workloads = InMemoryWorkloads("az-a", "az-b")
    workloads.by_name["ingest-az-a"] = replace(workloads.by_name["ingest-az-a"], ready=0)
    with pytest.raises(Unavailable, match="no other zone has a ready ingest"), shifted(workloads, "az-b", print):
        pass
    assert set(workloads.ready("az-b").values()) == {2}


def test_an_unknown_zone_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="az-a, az-b"), shifted(InMemoryWorkloads("az-a", "az-b"), "az-x", print):
        pass


def test_durations_have_a_unit() -> None:
    assert [duration_s(text) for text in ("90s", "30m", "1h")] == [90.0, 1800.0, 3600.0]
    for text in ("30", "m", "0m", "1d", "-1s"):
        with pytest.raises(Invalid, match="no duration"):
            duration_s(text)
