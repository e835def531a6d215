"""Ten minutes without a control plane change no success rate: the real decision and lease client in virtual time."""

import pytest

from chassis.errors import OverQuota
from chassis.protection import Protection, Rule
from chassis.testing import FakeClock
from services.quota.tests.simulated_faults import Fault
from services.quota.tests.simulated_fleet import KEY, TICK_S, Fleet

NUM_ENFORCERS, LIMIT = 10, 90.0
AWAY_FROM_S, AWAY_UNTIL_S, TOTAL_S = 60.0, 660.0, 760.0
AWAY = [Fault("kill", plane, AWAY_FROM_S, AWAY_UNTIL_S, on_plane=True) for plane in range(2)]


def success_rates(fleet: Fleet) -> list[float]:
    """Of each whole minute."""
    ticks = int(60 / TICK_S)
    rates = []
    for begin in range(0, int(TOTAL_S / TICK_S) - ticks + 1, ticks):
        admitted = sum(sum(each.admitted[begin : begin + ticks]) for each in fleet.enforcers)
        refused = sum(sum(each.refused[begin : begin + ticks]) for each in fleet.enforcers)
        rates.append(admitted / (admitted + refused))
    return rates


def run(demand_share: float, safe_share: float) -> Fleet:
    """Everybody asks for that share of an equal part of the limit."""
    rule = Rule(KEY, LIMIT, burst=10.0, safe_share=safe_share, is_global=True)
    fleet = Fleet(3, rule, [LIMIT / NUM_ENFORCERS * demand_share] * NUM_ENFORCERS)
    fleet.run(AWAY, TOTAL_S)
    return fleet


def test_shared_limit_admits_as_much_without_a_plane_as_with_one() -> None:
    rates = success_rates(run(0.9, 1 / NUM_ENFORCERS))
    assert len(rates) == 12
    assert rates == [1.0] * 12


def test_checker_sees_a_safe_share_that_is_too_small() -> None:
    rates = success_rates(run(0.9, 0.5 / NUM_ENFORCERS))
    assert rates[5] < 0.7, "without a lease they go by half of what they need"


@pytest.mark.parametrize("demand_share", [0.5, 2.0])
def test_limit_of_each_process_is_decided_the_same_whoever_is_away(demand_share: float) -> None:
    clock = FakeClock()
    protection = Protection(clock=clock)
    protection.set_rules([Rule("a", 10.0, burst=5.0)])
    rates = []
    for _ in range(12):
        admitted = asked = 0
        for _ in range(int(600 * demand_share)):
            clock.advance(0.1 / demand_share)
            asked += 1
            try:
                protection.admit("a")
            except OverQuota:
                continue
            admitted += 1
        rates.append(admitted / asked)
    assert max(rates) - min(rates) < 0.02
