"""Shares of a limit never pass it, are fair, and are given only to those who ask soundly."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid, NotFound, PermissionDenied
from chassis.protection.rule import Rule
from services.quota.domain.divider import Claim, divide
from services.quota.domain.lease_book import LeaseBook

RULE = Rule("a/b", 100.0, burst=20.0, owner="ann", version=1)

claims = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.builds(Claim, st.one_of(st.just(0.0), st.floats(0, 1e4)), st.floats(0.1, 10)),
    min_size=1,
    max_size=8,
)


def book() -> LeaseBook:
    counter = itertools.count()
    return LeaseBook(10_000, lambda: f"lease-{next(counter)}")


@settings(max_examples=200, deadline=None)
@given(limit=st.floats(0.1, 1e4), asked=claims)
def test_division_uses_the_limit_meets_small_demands_and_never_passes_it(limit: float, asked: dict[str, Claim]) -> None:
    rates = divide(limit, asked)
    assert rates.keys() == asked.keys()
    assert sum(rates.values()) == pytest.approx(limit)
    total_weight = sum(claim.weight for claim in asked.values())
    for name, claim in asked.items():
        share = limit * claim.weight / total_weight
        assert rates[name] >= min(claim.demand, share) * (1 - 1e-9)


def test_equal_weights_and_high_demand_get_equal_rates() -> None:
    assert divide(90.0, {name: Claim(1e9) for name in "abc"}) == {name: pytest.approx(30.0) for name in "abc"}


def test_weights_share_what_demand_leaves_open() -> None:
    rates = divide(100.0, {"small": Claim(10.0), "one": Claim(1e3, 1.0), "two": Claim(1e3, 2.0)})
    assert rates == {"small": pytest.approx(10), "one": pytest.approx(30), "two": pytest.approx(60)}


steps = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release", "wait"]), st.integers(0, 5), st.floats(0, 500)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(schedule=steps)
def test_unexpired_leases_never_sum_up_to_more_than_the_limit(schedule: list[tuple[str, int, float]]) -> None:
    leases, held, now_ms = book(), {}, 0
    for action, client, amount in schedule:
        name = f"client-{client}"
        if action == "wait":
            now_ms += int(amount * 20)
        elif action == "acquire":
            held[name] = leases.acquire(RULE, name, Claim(amount), now_ms)
        elif name in held:
            try:
                if action == "renew":
                    held[name] = leases.renew(RULE, held[name].lease_id, name, amount, now_ms)
                else:
                    leases.release(held.pop(name).lease_id, name, now_ms)
            except NotFound:
                del held[name]
        in_use = [lease for lease in held.values() if lease.expires_time_ms > now_ms]
        assert sum(lease.rate for lease in in_use) <= RULE.rate_per_s + 1e-6
        assert sum(lease.burst for lease in in_use) <= RULE.burst + 1e-6


def test_latecomer_gets_its_fair_share_within_one_round_of_renewals() -> None:
    leases = book()
    first = leases.acquire(RULE, "first", Claim(1e18), 0)
    assert first.rate == pytest.approx(100.0)
    second = leases.acquire(RULE, "second", Claim(100), 1_000)
    assert second.rate == 0.0
    assert leases.renew(RULE, first.lease_id, "first", 1e18, 3_000).rate == pytest.approx(50.0)
    assert leases.renew(RULE, second.lease_id, "second", 100, 4_000).rate == pytest.approx(50.0)


def test_expired_share_goes_back_to_the_others() -> None:
    leases = book()
    leases.acquire(RULE, "gone", Claim(100), 0)
    assert leases.acquire(RULE, "here", Claim(100), 10_000).rate == pytest.approx(100.0)


def test_client_that_asks_twice_holds_one_lease() -> None:
    leases = book()
    first, again = (leases.acquire(RULE, "same", Claim(40), 0) for _ in range(2))
    assert first.lease_id == again.lease_id
    assert leases.outstanding(RULE.key, 0) == pytest.approx(100.0)


def test_release_gives_back_once() -> None:
    leases = book()
    lease = leases.acquire(RULE, "client", Claim(40), 0)
    assert leases.release(lease.lease_id, "client", 1) is True
    assert leases.release(lease.lease_id, "client", 2) is False
    assert leases.outstanding(RULE.key, 2) == 0.0


def test_lease_of_another_client_is_denied() -> None:
    leases = book()
    lease = leases.acquire(RULE, "client", Claim(40), 0)
    with pytest.raises(PermissionDenied):
        leases.renew(RULE, lease.lease_id, "thief", 40, 1)
    with pytest.raises(PermissionDenied):
        leases.release(lease.lease_id, "thief", 1)


def test_expired_lease_is_not_found() -> None:
    leases = book()
    lease = leases.acquire(RULE, "client", Claim(40), 0)
    with pytest.raises(NotFound):
        leases.renew(RULE, lease.lease_id, "client", 40, 10_000)


@pytest.mark.parametrize(
    ("field", "client", "claim"),
    [
        ("demand", "c", Claim(math.nan)),
        ("demand", "c", Claim(math.inf)),
        ("demand", "c", Claim(-1.0)),
        ("weight", "c", Claim(1.0, 0.0)),
        ("weight", "c", Claim(1.0, math.nan)),
        ("client_id", "", Claim(1.0)),
    ],
)
def test_unsound_claim_is_invalid_by_field(field: str, client: str, claim: Claim) -> None:
    with pytest.raises(Invalid) as refused:
        book().acquire(RULE, client, claim, 0)
    assert refused.value.field == field
