"""Shares of a limit never pass it, are fair, and are given only to those who ask soundly."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid, NotFound, PermissionDenied
from chassis.protection.lease import LEAST_BURST
from chassis.protection.rule import Rule
from services.quota.domain.divider import Claim, divide
from services.quota.domain.lease_book import LeaseBook

RULE = Rule("a/b", 100.0, burst=20.0, owner="ann", version=1, safe_share=0.1, is_global=True)

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
    leases.start_epoch(1, 0)  # no process is known yet, so everyone's safe share is held back
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
        in_use = [lease for lease in held.values() if lease.expires_ms > now_ms]
        assert leases.outstanding(RULE.key, now_ms) <= RULE.rate_per_s + 1e-6
        assert sum(lease.rate for lease in in_use) <= RULE.rate_per_s + 1e-6
        assert sum(lease.burst for lease in in_use) <= RULE.burst + LEAST_BURST * len(in_use)


def test_latecomer_has_its_safe_share_at_once_and_its_fair_one_when_the_others_confirmed_theirs() -> None:
    leases = book()
    first = leases.acquire(RULE, "first", Claim(1e18), 0)
    assert first.rate == pytest.approx(100.0)
    second = leases.acquire(RULE, "second", Claim(100), 1_000)
    assert second.rate == pytest.approx(10.0)
    assert leases.renew(RULE, first.lease_id, "first", 1e18, 3_000, 100.0).rate == pytest.approx(50.0)
    # The answer may be lost: until the first one says that it goes by 50, the other 50 are not given twice.
    assert leases.renew(RULE, second.lease_id, "second", 100, 3_500, 10.0).rate == pytest.approx(10.0)
    leases.renew(RULE, first.lease_id, "first", 1e18, 4_000, 50.0)
    assert leases.renew(RULE, second.lease_id, "second", 100, 4_500, 10.0).rate == pytest.approx(50.0)


def test_holder_that_says_it_holds_more_than_granted_is_taken_to_hold_what_it_was_granted() -> None:
    leases = book()
    lease = leases.acquire(RULE, "one", Claim(20), 0)
    leases.renew(RULE, lease.lease_id, "one", 20, 1_000, held_rate=1e18)
    assert leases.outstanding(RULE.key, 1_000) <= 100.0
    for bad in (-1.0, math.nan):
        with pytest.raises(Invalid, match="held rate"):
            leases.renew(RULE, lease.lease_id, "one", 20, 1_000, held_rate=bad)


def test_safe_share_of_a_lost_process_is_held_back_until_it_returns_or_is_given_up() -> None:
    leases = LeaseBook(10_000, iter(map(str, range(100))).__next__, absent_ms=60_000)
    lost = leases.acquire(RULE, "lost", Claim(100), 0)
    here = leases.acquire(RULE, "here", Claim(100), 1_000)
    for now_ms in range(2_000, 60_000, 2_000):
        here = leases.renew(RULE, here.lease_id, "here", 100, now_ms, here.rate)
    assert lost.expires_ms == 10_000
    assert here.rate == pytest.approx(90.0)
    assert leases.renew(RULE, here.lease_id, "here", 100, 60_500, here.rate).rate == pytest.approx(90.0)
    here = leases.renew(RULE, here.lease_id, "here", 100, 70_000, here.rate)
    assert here.rate == pytest.approx(100.0)


def test_budgets_under_a_wildcard_are_shared_one_by_one() -> None:
    leases, rule = book(), Rule("a/*", 100.0, safe_share=0.1, is_global=True)
    ann = leases.acquire(rule, "one", Claim(1e3), 0, "a/ann")
    bob = leases.acquire(rule, "one", Claim(1e3), 0, "a/bob")
    assert [ann.rate, bob.rate] == pytest.approx([100.0, 100.0])
    for bad in ("b/ann", "a", "a/b/c"):
        with pytest.raises(Invalid) as refused:
            leases.acquire(rule, "one", Claim(1.0), 0, bad)
        assert refused.value.field == "budget"


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
