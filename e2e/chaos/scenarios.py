"""What can be run: a load, faults drawn from a seed, and the invariants that must hold all the same."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis.errors import NotFound
from corkboard.load.plan import Call, Phase, plan_calls

DURATION_S = 30.0
CALLS_PER_S = 6.0  # what two cores that also run the load and six other things answer in time
SESSION_TIMEOUT_S = 10.0  # of chassis.kafka consumers

MIX = {"feed": 0.5, "events": 0.5}
NUM_USERS = 50

SAFETY = ("no_acknowledged_event_lost", "none_twice", "nothing_invented", "per_user_order")
SERVING = ("feed_in_deadline", "degraded_is_named", "retry_amplification", "goodput_holds")


@dataclass(frozen=True)
class Fault:
    """`action` on `target` at `at_s`, undone after `for_s`; `strength` is in the action's own unit."""

    at_s: float
    action: str
    target: str
    for_s: float = 0.0
    strength: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """A load with faults. `link` (caller, callee) puts a proxy between the two, in the control run as well."""

    name: str
    description: str
    faults: Callable[[random.Random], tuple[Fault, ...]]
    checks: tuple[str, ...]
    phases: tuple[Phase, ...] = (Phase(CALLS_PER_S, DURATION_S),)
    control_phases: tuple[Phase, ...] = ()
    link: tuple[str, str] | None = None
    needs_rebuild: bool = False
    repeats: float = 0.0
    shuffles: bool = False
    ends_with_faults: bool = False

    def calls(self, seed: int, *, is_control: bool) -> list[Call]:
        """The calls of the run, or of its control."""
        return plan_calls((is_control and self.control_phases) or self.phases, MIX, NUM_USERS, seed)

    def plan(self, seed: int) -> dict[str, Any]:
        """What a run with this seed does, for a reader and for `replay`."""
        return {"scenario": self.name, "seed": seed, "faults": [vars(fault) for fault in self.schedule(seed)]}

    def schedule(self, seed: int) -> tuple[Fault, ...]:
        """The faults of this seed, by time."""
        return tuple(sorted(self.faults(random.Random(f"{self.name} {seed}")), key=lambda fault: fault.at_s))


def _kills(*victims: str) -> Callable[[random.Random], tuple[Fault, ...]]:
    """Each victim once, in random order, at random moments that leave time to come back."""

    def draw(chance: random.Random) -> tuple[Fault, ...]:
        order = chance.sample(victims, len(victims))
        step_s = 18.0 / len(order)
        return tuple(
            Fault(3.0 + step_s * place + chance.uniform(0, step_s / 2), "kill", victim, 2.0)
            for place, victim in enumerate(order)
        )

    return draw


def _always(*faults: Fault) -> Callable[[random.Random], tuple[Fault, ...]]:
    return lambda _: faults


def _poison(chance: random.Random) -> tuple[Fault, ...]:
    """One record in a hundred of what the load makes, and never fewer than six: one a partition."""
    return tuple(Fault(chance.uniform(2, 25), "poison", "kafka-1", strength=float(place)) for place in range(6))


def _crash_points(chance: random.Random) -> tuple[Fault, ...]:
    return (
        Fault(3.0, "crash_at", f"enrich:{chance.choice(('decode', 'write', 'commit'))}", strength=chance.randint(1, 3)),
        Fault(
            16.0, "crash_at", f"indexer:{chance.choice(('write', 'written', 'commit'))}", strength=chance.randint(1, 3)
        ),
    )


_RESTARTED = ("quota", "ranker-leaf", "ranker", "cg", "indexer", "enrich", "blender", "ingest")

_ALL = (
    Scenario(
        "kill_at_random",
        "SIGKILL of enrich, indexer and the broker, each once, at random moments",
        _kills("enrich", "indexer", "kafka-1"),
        (*SAFETY, "feed_in_deadline", "degraded_is_named"),
    ),
    Scenario(
        "crash_points",
        "enrich and indexer kill themselves at a named step, their effects half done",
        _crash_points,
        SAFETY,
    ),
    Scenario(
        "long_pause",
        "enrich stands still for longer than its session with the broker lasts",
        _always(Fault(4.0, "pause", "enrich", SESSION_TIMEOUT_S + 4.0)),
        (*SAFETY, "feed_in_deadline"),
    ),
    Scenario(
        "broker_pause",
        "the broker stands still for five seconds",
        lambda chance: (Fault(chance.uniform(4, 10), "pause", "kafka-1", 5.0),),
        (*SAFETY, "feed_in_deadline"),
    ),
    Scenario(
        "valkey_flush",
        "FLUSHALL of the online store, and a rebuild afterwards",
        lambda chance: (Fault(chance.uniform(8, 14), "flush", "valkey"),),
        (*SAFETY, "cache_rebuildable", "feed_in_deadline"),
        needs_rebuild=True,
    ),
    Scenario(
        "valkey_death",
        "SIGKILL of the online store, back after five seconds, and a rebuild of what it forgot",
        lambda chance: (Fault(chance.uniform(6, 12), "kill", "valkey", 5.0),),
        (*SAFETY, "cache_rebuildable", "feed_in_deadline"),
        needs_rebuild=True,
    ),
    Scenario(
        "poison",
        "records that nobody can read, one in each partition",
        _poison,
        (*SAFETY, "poison_stalls_shortly", "poison_is_parked"),
    ),
    Scenario(
        "rolling_restart",
        "every service stopped in order and started again, one after the other",
        _always(*(Fault(1.0 + place, "restart", name) for place, name in enumerate(_RESTARTED))),
        (*SAFETY, "graceful_restart"),
        phases=(Phase(CALLS_PER_S, 400.0),),
        control_phases=(Phase(CALLS_PER_S, DURATION_S),),
        ends_with_faults=True,
    ),
    Scenario(
        "slow_leaf",
        "every byte to and from the only ranker leaf comes 300 ms late",
        _always(Fault(5.0, "slow", "ranker-leaf", 15.0, 0.3)),
        SERVING,
        link=("ranker", "ranker-leaf"),
    ),
    Scenario(
        "half_open_leaf",
        "the leaf's connections stay open and say nothing, then work again",
        _always(Fault(5.0, "half_open", "ranker-leaf", 10.0)),
        SERVING,
        link=("ranker", "ranker-leaf"),
    ),
    Scenario(
        "lossy_cg",
        "connections from blender to cg are reset again and again, then cut for three seconds",
        _always(Fault(5.0, "lossy", "cg", 8.0), Fault(15.0, "cut", "cg", 3.0)),
        SERVING,
        link=("blender", "cg"),
    ),
    Scenario(
        "overload",
        "three times the load for ten seconds, then as before",
        _always(),
        (*SAFETY, "goodput_holds"),
        phases=(Phase(CALLS_PER_S, 10.0), Phase(3 * CALLS_PER_S, 10.0), Phase(CALLS_PER_S, 10.0)),
        control_phases=(Phase(CALLS_PER_S, DURATION_S),),
    ),
    Scenario(
        "repeated_and_shuffled",
        "every fifth publication is sent twice, and events come in another order than they happened",
        _always(),
        SAFETY,
        repeats=0.2,
        shuffles=True,
    ),
    Scenario(
        "soak",
        "five minutes without a fault: memory stays where it is",
        _always(),
        (*SAFETY, "memory_is_flat"),
        phases=(Phase(CALLS_PER_S, 300.0),),
        control_phases=(Phase(CALLS_PER_S, DURATION_S),),
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def scenario(name: str) -> Scenario:
    """Raises: NotFound naming those that there are."""
    if name not in SCENARIOS:
        raise NotFound(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}", field="scenario")
    return SCENARIOS[name]
