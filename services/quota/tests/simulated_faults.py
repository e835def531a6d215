"""What goes wrong in a simulated fleet, made from a seed, and what must hold all the same."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from services.quota.tests.simulated_fleet import Fleet

FAULTS_FROM_S, FAULTS_UNTIL_S = 12.0, 50.0
SETTLE_S = 25.0  # a new leader (5 s), its quiet time (6 s), two rounds of leases (2 x 6 s)
TOTAL_S = 100.0
CALM_FROM_S = FAULTS_UNTIL_S + SETTLE_S


@dataclass(frozen=True)
class Fault:
    """`kind` of one process (kill, pause, cut, deaf = no answer comes back, blind = no ledger, demand).

    From `begin_s` to `end_s`, seconds.
    """

    kind: str
    index: int
    begin_s: float
    end_s: float
    on_plane: bool = False
    factor: float = 1.0  # of a demand


def make_faults(seed: int, num_enforcers: int) -> list[Fault]:
    """1 to 10 faults, of several processes at once now and then; two of one process and kind never overlap."""
    rng = random.Random(seed)  # replayable
    faults: dict[tuple[str, int, bool], Fault] = {}
    for _ in range(rng.randint(1, 6)):
        begin_s = rng.uniform(FAULTS_FROM_S, FAULTS_UNTIL_S - 2)
        end_s = rng.uniform(begin_s + 0.5, FAULTS_UNTIL_S)
        if rng.random() < 0.4:
            kind, index = rng.choice(["kill", "pause", "cut", "blind"]), rng.randrange(2)
            faults[kind, index, True] = Fault(kind, index, begin_s, end_s, on_plane=True)
            continue
        kind = rng.choice(["kill", "pause", "cut", "cut", "deaf", "demand"])
        factor = rng.choice([0.05, 3.0])
        for index in rng.sample(range(num_enforcers), rng.choice([1, 2, num_enforcers // 2])):
            faults[kind, index, False] = Fault(kind, index, begin_s, end_s, factor=factor)
    return list(faults.values())


def overshoot(fleet: "Fleet", tick_s: float, lease_s: float) -> float:
    """The largest admitted - (L W + N burst + L min(W, lease)) over all windows; <= 0 = within the bound.

    N counts every life of a process that the window touches: a restarted one has a burst again.
    """
    rule = fleet.ledger.rule
    admitted = np.array([enforcer.admitted for enforcer in fleet.enforcers]).sum(axis=0)
    total = np.concatenate([[0.0], np.cumsum(admitted)])
    edges_s = np.arange(len(total)) * tick_s
    lives = len(fleet.enforcers) + np.searchsorted(np.sort(fleet.restarts), edges_s, side="right")
    width_s = edges_s[None, :] - edges_s[:, None]
    num_lives = lives[None, :] - lives[:, None] + len(fleet.enforcers)
    bound = rule.rate_per_s * (width_s + np.minimum(width_s, lease_s)) + num_lives * max(rule.burst, 1.0)
    excess = total[None, :] - total[:, None] - bound
    return float(excess[width_s > 0].max())


def admitted_share(fleet: "Fleet", tick_s: float) -> float:
    """Units admitted in the calm end, of what the limit allows in it."""
    calm = [sum(enforcer.admitted[int(CALM_FROM_S / tick_s) :]) for enforcer in fleet.enforcers]
    return sum(calm) / (fleet.ledger.rule.rate_per_s * (TOTAL_S - CALM_FROM_S))


def unfairness(fleet: "Fleet", tick_s: float) -> float:
    """The largest relative difference from the mean, of those that asked for more than an equal share; calm end."""
    share = fleet.ledger.rule.rate_per_s / len(fleet.enforcers)
    hungry = [e for e in fleet.enforcers if e.demand_per_s > share * 1.5]
    got = np.array([sum(e.admitted[int(CALM_FROM_S / tick_s) :]) for e in hungry])
    return float(np.abs(got / got.mean() - 1.0).max()) if len(hungry) > 1 else 0.0


def refused_under_share(fleet: "Fleet", tick_s: float) -> float:
    """The most units refused in the calm end to one process that always asked for less than 90 % of an equal share."""
    share = fleet.ledger.rule.rate_per_s / len(fleet.enforcers)
    modest = [e for e in fleet.enforcers if e.demand_per_s <= share * 0.9]
    return max((sum(e.refused[int(CALM_FROM_S / tick_s) :]) for e in modest), default=0.0)


def overlapping_epochs(fleet: "Fleet") -> int:
    """Grants made while a lease of an older leader could still be in use, or after a newer leader granted."""
    num_overlaps, newest_epoch, older_until_s, newest_until_s = 0, 0, 0.0, 0.0
    for given_s, epoch, over_s in fleet.grants:
        if epoch > newest_epoch:
            newest_epoch, older_until_s, newest_until_s = epoch, max(older_until_s, newest_until_s), 0.0
        if epoch < newest_epoch or given_s < older_until_s:
            num_overlaps += 1
        newest_until_s = max(newest_until_s, over_s)
    return num_overlaps
