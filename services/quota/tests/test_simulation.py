"""The promises of leases over thousands of fault schedules in virtual time, and checkers shown to catch planted faults.

A failure prints its seed; `SEED=123 python -m pytest services/quota/tests/test_simulation.py -k replay` runs it alone.
"""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chassis.protection.lease import FOREVER_S, LEAST_BURST, Grant, LeasedGcra
from chassis.protection.rule import Rule
from services.quota.app.leader import Leader
from services.quota.domain.divider import Claim
from services.quota.domain.lease_book import Lease, LeaseBook
from services.quota.tests import simulated_faults as faults
from services.quota.tests.simulated_fleet import KEY, LEASE_S, TICK_S, Fleet

LIMIT = 90.0
FEW = range(40)
MANY = range(1_000, 4_000)


def fleet_of(seed: int) -> Fleet:
    rng = random.Random(seed)  # replayable
    num_enforcers = rng.choice([4, 6, 10]) if seed % 20 else 30
    rule = Rule(KEY, LIMIT, burst=rng.choice([2.0, 5.0]), safe_share=1 / num_enforcers, is_global=True)
    share = LIMIT / num_enforcers
    num_modest = rng.randrange(num_enforcers // 2)
    demands = [share * rng.uniform(0.2, 0.9) for _ in range(num_modest)]
    demands += [share * rng.uniform(2.0, 4.0) for _ in range(num_enforcers - num_modest)]
    return Fleet(seed, rule, demands)


def broken_promises(fleet: Fleet, seed: int, schedule: list[faults.Fault] | None = None) -> list[str]:
    """What does not hold after a run with the faults of `seed` (or `schedule`); empty = everything holds."""
    made = faults.make_faults(seed, len(fleet._demands)) if schedule is None else schedule
    fleet.run(made, faults.TOTAL_S)
    found = {
        "bound": faults.overshoot(fleet, TICK_S, LEASE_S) > 1e-6,
        "liveness": faults.admitted_share(fleet, TICK_S) < 0.95,
        "fairness": faults.unfairness(fleet, TICK_S) > 0.10,
        "under_share": faults.refused_under_share(fleet, TICK_S) > LEAST_BURST,  # by chance at once
        "two_leaders": faults.overlapping_epochs(fleet) > 0,
    }
    return [name for name, is_broken in found.items() if is_broken]


def failing(seeds: range) -> Mapping[int, list[str]]:
    results = {seed: broken_promises(fleet_of(seed), seed) for seed in seeds}
    return {seed: broken for seed, broken in results.items() if broken}


def test_every_promise_holds_in_forty_fault_schedules() -> None:
    assert failing(FEW) == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_promise_holds_in_thousands_of_fault_schedules() -> None:
    assert failing(MANY) == {}


@pytest.mark.skipif("SEED" not in os.environ, reason="replays the schedule of SEED")
def test_replay() -> None:
    seed = int(os.environ["SEED"])
    fleet = fleet_of(seed)
    broken = broken_promises(fleet, seed)
    assert not broken, (broken, faults.make_faults(seed, len(fleet._demands)))


def test_a_run_is_the_same_again() -> None:
    first, again = fleet_of(7), fleet_of(7)
    assert broken_promises(first, 7) == broken_promises(again, 7) == []
    assert [e.admitted for e in first.enforcers] == [e.admitted for e in again.enforcers]
    assert first.grants == again.grants and len(first.grants) > 50


class NeverExpires(LeasedGcra):
    """Goes on with its last lease for ever."""

    def accept(self, grant: Grant, sent_s: float, now_s: float) -> bool:
        is_used = super().accept(grant, sent_s, now_s)
        self._ends_s = self._until_s = FOREVER_S
        return is_used


class GivesAll(LeaseBook):
    """Forgets that others hold shares."""

    def _grant(self, rule: Rule, lease: Lease, page: Any, now_ms: int) -> Lease:
        page.held.clear()
        return super()._grant(rule, lease, page, now_ms)


class HoldsNothingBack(LeaseBook):
    """Gives away the safe shares of processes that cannot be reached."""

    def _num_absent(self, *_: Any) -> int:
        return 0


class GivesHalf(LeaseBook):
    """Divides a half of the limit."""

    def _grant(self, rule: Rule, lease: Lease, page: Any, now_ms: int) -> Lease:
        return super()._grant(Rule(KEY, LIMIT / 2, burst=rule.burst, safe_share=rule.safe_share), lease, page, now_ms)


class HasFavourites(LeaseBook):
    """Takes one client for twice as important."""

    def acquire(self, rule: Rule, client_id: str, claim: Claim, now_ms: int, budget: str = "") -> Lease:
        weight = 2.0 if client_id == "enforcer-5" else 1.0
        return super().acquire(rule, client_id, Claim(claim.demand, weight), now_ms, budget)


class LeadsTooLong(Leader):
    """Believes in its lead for long after its last beat."""

    def epoch(self) -> int | None:
        return self._candidacy.epoch_at(self._clock.monotonic_s() - 30.0)


class NeverQuiet(Leader):
    """Grants as soon as it leads."""

    def quiet_s(self) -> float:
        return 0.0


def cut(index: int, end_s: float = 49.0, *, on_plane: bool = False, kind: str = "cut") -> faults.Fault:
    return faults.Fault(kind, index, 12.0, end_s, on_plane=on_plane)


def demand(index: int, factor: float) -> faults.Fault:
    return faults.Fault("demand", index, 12.5, 49.0, factor=factor)


# (name, promise that breaks, part that is replaced, by what, demands per second, faults)
MUTANTS: list[tuple[str, str, str, Callable[..., Any], list[float], list[faults.Fault]]] = [
    (
        "lease that never expires",
        "bound",
        "new_gcra",
        NeverExpires,
        [0.5] * 8 + [60.0] * 2,
        [cut(8), cut(9), *(demand(i, 60.0) for i in range(8))],
    ),
    ("limit given twice", "bound", "new_book", GivesAll, [20.0] * 10, []),
    ("nothing held back", "bound", "new_book", HoldsNothingBack, [60.0] * 10, [cut(i) for i in range(8)]),
    ("half of the limit", "liveness", "new_book", GivesHalf, [20.0] * 10, []),
    ("favourite", "fairness", "new_book", HasFavourites, [20.0] * 10, []),
    (
        "leader that leads too long",
        "two_leaders",
        "new_leader",
        LeadsTooLong,
        [20.0] * 10,
        [cut(0, on_plane=True, kind="blind"), *(cut(i, 15.0) for i in range(5))],
    ),
    (
        "leader that is never quiet",
        "two_leaders",
        "new_leader",
        NeverQuiet,
        [20.0] * 10,
        [cut(0, on_plane=True, kind="kill")],
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant[0] for mutant in MUTANTS])
def test_each_checker_catches_a_planted_fault(mutant: Any) -> None:
    _, promise, part, replacement, demands, schedule = mutant
    rule = Rule(KEY, LIMIT, burst=2.0, safe_share=0.1, is_global=True)
    sound, faulty = Fleet(1, rule, demands), Fleet(1, rule, demands)
    setattr(faulty, part, replacement)
    assert broken_promises(sound, 1, schedule) == []
    assert promise in broken_promises(faulty, 1, schedule)


def test_under_share_checker_sees_a_refusal() -> None:
    fleet = Fleet(1, Rule(KEY, LIMIT, burst=2.0, safe_share=0.1, is_global=True), [5.0] * 10)
    fleet.new_gcra = lambda rule, now_s: LeasedGcra(Rule(KEY, rule.limit / 30, safe_share=0.1, is_global=True), now_s)
    assert "under_share" in broken_promises(fleet, 1, [])
