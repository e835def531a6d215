"""What goes wrong and when, made from a seed."""

import random
from dataclasses import dataclass

NUM_ENFORCERS = 30
WARM_S, FAULTS_UNTIL_S = 12.0, 50.0
CALM_FROM_S, TOTAL_S = 66.0, 90.0  # after the last fault: a leader (2 s), its quiet time (3 s), rounds of leases, room
KINDS = ("kill", "kill", "pause", "pause", "cut", "cut", "half_open", "cut_one")
QUOTAS = ("quota-0", "quota-1")


@dataclass(frozen=True)
class Fault:
    """`kind` of one process from `begin_s` to `end_s` after the start: kill (and start again), pause, cut (its links),
    half_open (its links take everything and answer nothing), cut_one (the link to one quota service).
    """

    kind: str
    target: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class World:
    """How the fleet is made: demand per process in units per second, and how wrong each clock is."""

    demands: dict[str, float]
    skews_s: dict[str, float]
    faults: tuple[Fault, ...]


def make_world(seed: int, limit_per_s: float) -> World:
    """A third asks for less than its share, the others for two to three times it; 22 faults, two of a leader."""
    rng = random.Random(seed)  # replayable
    names = [f"enforcer-{number:02d}" for number in range(NUM_ENFORCERS)]
    share = limit_per_s / NUM_ENFORCERS
    modest = set(rng.sample(names, NUM_ENFORCERS // 3))
    demands = {name: share * (rng.uniform(0.3, 0.8) if name in modest else rng.uniform(2.0, 3.0)) for name in names}
    skews_s = {name: rng.uniform(-60.0, 60.0) for name in (*names, *QUOTAS)}
    faults = [_fault(rng, rng.choice(KINDS), name) for name in rng.sample(names, 20)]
    first_s = rng.uniform(WARM_S, 20.0)
    faults.append(Fault("kill", "leader", first_s, first_s + 6.0))
    second_s = rng.uniform(34.0, 40.0)
    faults.append(Fault("pause", "leader", second_s, second_s + 7.0))
    return World(demands, skews_s, tuple(sorted(faults, key=lambda fault: fault.begin_s)))


def make_world_without_a_plane(seed: int, limit_per_s: float, begin_s: float, end_s: float) -> World:
    """Everybody asks for 80 to 90 % of an equal share; both quota services are killed, and come back later."""
    rng = random.Random(seed)  # replayable
    names = [f"enforcer-{number:02d}" for number in range(NUM_ENFORCERS)]
    demands = {name: limit_per_s / NUM_ENFORCERS * rng.uniform(0.8, 0.9) for name in names}
    skews_s = {name: rng.uniform(-60.0, 60.0) for name in (*names, *QUOTAS)}
    return World(demands, skews_s, tuple(Fault("kill", name, begin_s, end_s) for name in QUOTAS))


def _fault(rng: random.Random, kind: str, name: str) -> Fault:
    begin_s = rng.uniform(WARM_S, FAULTS_UNTIL_S - 9.0)
    return Fault(kind, name, begin_s, begin_s + rng.uniform(1.0, 9.0))
