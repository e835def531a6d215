"""A limit shared by thirty real processes holds while they, their links and the leaders are broken; no house is needed.

`python -m e2e.leases --seed 7` makes one such run alone and prints what happened.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from e2e.leases.__main__ import report, run, run_world
from e2e.leases.fleet import BURST, LEASE_S, LIMIT
from e2e.leases.schedule import CALM_FROM_S, NUM_ENFORCERS, TOTAL_S, make_world, make_world_without_a_plane
from e2e.leases.tally import BIN_S
from e2e.leases.verdict import Promise, judge
from services.quota.tests import postgres

SEED = 1
NUM_BINS = int(TOTAL_S / BIN_S)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bound_and_liveness_hold_under_kill_pause_partition_and_skew(tmp_path: Path) -> None:
    with ExitStack() as stack:  # on PostgreSQL where it is installed, as two quota services in production are
        ledger_url = "" if postgres.missing() else stack.enter_context(postgres.running()).url
        fleet, verdict = run(SEED, tmp_path, ledger_url)
    told = report(fleet, verdict)
    assert verdict.broken == [], told
    assert verdict.num_admitted > 0.8 * LIMIT * TOTAL_S, told
    assert len(set(fleet.leaders_hit)) == 2, told
    epochs = sorted(epoch for name in told["epochs"] for epoch in told["epochs"][name])
    assert epochs == sorted(set(epochs)) and len(epochs) >= 3, "every leader has an epoch of its own"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nobody_notices_that_both_quota_services_are_dead_for_half_a_minute(tmp_path: Path) -> None:
    begin_s, end_s = 15.0, 45.0
    world = make_world_without_a_plane(SEED, LIMIT, begin_s, end_s)
    _, counts = run_world(world, SEED, tmp_path)
    phases = {"before": (5.0, begin_s), "away": (begin_s, end_s), "after": (end_s, TOTAL_S)}
    for name, (first_s, last_s) in phases.items():
        of_phase = np.sum([each[int(first_s / BIN_S) : int(last_s / BIN_S)] for each in counts.values()], axis=0)
        admitted, refused, _ = of_phase.sum(axis=0)
        assert admitted > 0.9 * 0.8 * LIMIT * (last_s - first_s), name
        assert refused <= 2, f"{name}: {refused} of {admitted + refused} refused"


def test_same_seed_breaks_the_same_things() -> None:
    assert make_world(7, LIMIT) == make_world(7, LIMIT)
    assert make_world(7, LIMIT) != make_world(8, LIMIT)


def steady(rate_per_s: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """A tally of a process that admits at a rate and refuses nothing."""
    counts = np.zeros((NUM_BINS, 3), dtype=np.int64)
    counts[:, 0] = np.diff(np.floor(np.arange(NUM_BINS + 1) * BIN_S * rate_per_s))
    return counts


def test_checker_passes_an_even_share_and_sees_each_planted_fault() -> None:
    names = [f"e{number}" for number in range(NUM_ENFORCERS)]
    promise = Promise(LIMIT, BURST, LEASE_S, dict.fromkeys(names, 2.0 * LIMIT / NUM_ENFORCERS))
    even = {name: steady(LIMIT / NUM_ENFORCERS) for name in names}
    assert judge(even, [], promise).broken == []

    calm = int(CALM_FROM_S / BIN_S)
    greedy = {name: counts.copy() for name, counts in even.items()}
    greedy["e0"][18:20, 0] += 500
    assert judge(greedy, [], promise).broken == ["bound"]
    assert judge(greedy, [1.0] * 30, promise).broken == [], "each new life has a burst"

    idle = {name: counts.copy() for name, counts in even.items()}
    for counts in idle.values():
        counts[calm:, 0] = steady(0.9 * LIMIT / NUM_ENFORCERS)[calm:, 0]
    assert judge(idle, [], promise).broken == ["liveness"]

    unfair = {name: counts.copy() for name, counts in even.items()}
    unfair["e0"][calm:, 0] = steady(0.8 * LIMIT / NUM_ENFORCERS)[calm:, 0]
    assert judge(unfair, [], promise).broken == ["fairness"]

    modest = Promise(LIMIT, BURST, LEASE_S, {**promise.demands, "e1": 0.5 * LIMIT / NUM_ENFORCERS})
    refusing = {name: counts.copy() for name, counts in even.items()}
    refusing["e1"][calm, 1] = 3
    assert judge(refusing, [], modest).broken == ["under_share"]

    stalled = {name: counts.copy() for name, counts in idle.items()}
    for counts in stalled.values():
        counts[calm:, 2] = int(1000 * BIN_S * 0.1)
    assert judge(stalled, [], promise).broken == [], "who gets no time of the machine cannot ask"
