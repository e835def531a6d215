"""The picker's rules, without a network."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import DeadlineExceeded, Invalid, Overloaded, Unavailable
from chassis.grpc.picker import FAILURES_TO_EJECT, FIRST_EJECTION_S, MAX_EJECTION_S, Picker
from chassis.grpc.target import Address, parse_target, peer_name


class _Clock:
    now_s = 50.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


class _FakeEndpoint:
    """An endpoint without channels."""

    def __init__(self, name: str, zone: str) -> None:
        self.name, self.zone = name, zone
        self.num_failures_in_row = self.num_ejections = self.in_flight = 0
        self.ejected_until_s = 0.0
        self.is_lost = False

    def is_down(self) -> bool:
        return self.is_lost


def _picker(endpoints: list[Any], clock: _Clock, zone: str = "a") -> Picker:
    return Picker(endpoints, zone, clock)


def _fail(picker: Picker, endpoint: Any, times: int = FAILURES_TO_EJECT) -> None:
    for _ in range(times):
        picker.report(endpoint, Unavailable("x"))


def _picked(picker: Picker, times: int = 40) -> set[str]:
    return {picker.pick().name for _ in range(times)}  # type: ignore[attr-defined]


def test_failing_endpoint_is_ejected_and_comes_back_on_probation() -> None:
    clock = _Clock()
    endpoints: list[Any] = [_FakeEndpoint("one", "a"), _FakeEndpoint("two", "a")]
    picker = _picker(endpoints, clock)
    _fail(picker, endpoints[0])
    assert _picked(picker) == {"two"}
    clock.now_s += FIRST_EJECTION_S + 0.1
    assert _picked(picker) == {"one", "two"}
    _fail(picker, endpoints[0], times=1)
    clock.now_s += FIRST_EJECTION_S + 0.1
    assert _picked(picker) == {"two"}
    clock.now_s += FIRST_EJECTION_S
    assert _picked(picker) == {"one", "two"}


def test_success_in_between_starts_the_count_again() -> None:
    clock = _Clock()
    endpoints: list[Any] = [_FakeEndpoint("one", "a"), _FakeEndpoint("two", "a")]
    picker = _picker(endpoints, clock)
    for _ in range(10):
        _fail(picker, endpoints[0], FAILURES_TO_EJECT - 1)
        picker.report(endpoints[0], None)
    assert _picked(picker) == {"one", "two"}


@pytest.mark.parametrize("error", [Overloaded("o", retry_after_s=1), Invalid("i")])
def test_an_answer_about_the_request_is_no_fault_of_the_endpoint(error: Any) -> None:
    clock = _Clock()
    endpoints: list[Any] = [_FakeEndpoint("one", "a"), _FakeEndpoint("two", "a")]
    picker = _picker(endpoints, clock)
    for _ in range(50):
        picker.report(endpoints[0], error)
    assert _picked(picker) == {"one", "two"}


def test_own_zone_spills_only_when_none_of_its_endpoints_is_fit() -> None:
    clock = _Clock()
    near, other, far = _FakeEndpoint("near", "a"), _FakeEndpoint("other", "a"), _FakeEndpoint("far", "b")
    picker = _picker([near, other, far], clock)
    near.is_lost = True
    assert _picked(picker) == {"other"}
    _fail(picker, other)
    assert _picked(picker) == {"far"}
    far.is_lost = True
    assert _picked(picker) <= {"near", "other"}


def test_least_loaded_endpoint_is_preferred() -> None:
    busy, free = _FakeEndpoint("busy", "a"), _FakeEndpoint("free", "a")
    busy.in_flight = 10
    assert _picked(_picker([busy, free], _Clock())) == {"free"}


def test_the_only_endpoint_is_always_picked() -> None:
    one = _FakeEndpoint("one", "a")
    picker = _picker([one], _Clock())
    _fail(picker, one, 100)
    assert _picked(picker) == {"one"}
    assert picker.pick_other(one) is None  # type: ignore[arg-type]


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.floats(0.0, 2.0)), max_size=200),
)
def test_never_more_than_half_of_a_zone_is_ejected_nor_for_longer_than_the_limit(
    zones: list[str], history: list[tuple[int, bool, float]]
) -> None:
    clock = _Clock()
    endpoints = [_FakeEndpoint(str(number), zone) for number, zone in enumerate(zones)]
    picker = _picker(endpoints, clock)
    for number, is_good, passed_s in history:
        endpoint: Any = endpoints[number % len(endpoints)]
        picker.report(endpoint, None if is_good else DeadlineExceeded("x"))
        for zone in set(zones):
            members = [each for each in endpoints if each.zone == zone]
            assert sum(each.ejected_until_s > clock.now_s for each in members) * 2 <= len(members)
        assert endpoint.ejected_until_s <= clock.now_s + MAX_EJECTION_S
        picker.pick()
        clock.now_s += passed_s


def test_target_names_zones_and_refuses_nonsense() -> None:
    assert parse_target("h:1@a, [::1]:2 ,dns:///x.y:3@b") == (
        Address("h:1", "a"),
        Address("[::1]:2"),
        Address("dns:///x.y:3", "b"),
    )
    for wrong in ("", " , ", "host", "host:", "host:0", "host:99999", ":80", "h:1,h:1@b", "h:x"):
        with pytest.raises(Invalid):
            parse_target(wrong)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("cg-az-a.feeds.svc.cluster.local:7104@az-a,cg-az-b.feeds.svc.cluster.local:7104@az-b", "cg"),
        ("ranker-root-az-a:7105@az-a", "ranker-root"),
        ("indexer:7103", "indexer"),
        ("127.0.0.1:7104@local", "127.0.0.1:7104@local"),
        ("cg-az-a:1@az-a,other-az-b:2@az-b", "cg-az-a:1@az-a,other-az-b:2@az-b"),
    ],
)
def test_a_peer_is_called_by_its_host_without_the_zone(target: str, name: str) -> None:
    assert peer_name(target) == name
