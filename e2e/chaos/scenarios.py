"""The scenarios there are."""

import random
from collections.abc import Mapping

from chassis.errors import NotFound
from corkboard.load.plan import Phase
from e2e.chaos.scenario import CALLS_PER_S, DURATION_S, Draw, Fault, Scenario

SESSION_TIMEOUT_S = 10.0  # of chassis.kafka consumers
HOUR_MS = 3_600_000

STORED = ("no_acknowledged_event_lost", "none_twice", "nothing_invented", "per_user_order")
SAFETY = (*STORED, "commit_follows_effect")
SERVING = ("feed_in_deadline", "degraded_is_named", "retry_amplification", "goodput_holds")
STATIC = ("feed_in_deadline", "statically_stable")


def _kills(*victims: str) -> Draw:
    """Each victim once, in random order, at random moments that leave time to come back."""

    def draw(chance: random.Random) -> tuple[Fault, ...]:
        order = chance.sample(victims, len(victims))
        step_s = 18.0 / len(order)
        return tuple(
            Fault(3.0 + step_s * place + chance.uniform(0, step_s / 2), "kill", victim, 2.0)
            for place, victim in enumerate(order)
        )

    return draw


def _always(*faults: Fault) -> Draw:
    return lambda _: faults


def _within(begin_s: float, end_s: float, action: str, target: str, for_s: float = 0.0, strength: float = 0.0) -> Draw:
    """One fault, somewhere between the two times."""
    return lambda chance: (Fault(chance.uniform(begin_s, end_s), action, target, for_s, strength),)


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


def _mixed(chance: random.Random) -> tuple[Fault, ...]:
    """Two of everything that a small house survives, at random moments of a minute."""
    kinds = (
        ("kill", "enrich", 2.0, 0.0),
        ("kill", "indexer", 2.0, 0.0),
        ("kill", "cg", 2.0, 0.0),
        ("kill", "ranker", 2.0, 0.0),
        ("pause", "enrich", 4.0, 0.0),
        ("pause", "valkey", 2.0, 0.0),
        ("poison", "kafka-1", 0.0, float(chance.randrange(6))),
        ("bad_bundle", "ranker", 0.0, 0.0),
    )
    first, second = chance.sample(kinds, 2)
    return (
        Fault(chance.uniform(3.0, 12.0), first[0], first[1], first[2], first[3]),
        Fault(chance.uniform(28.0, 38.0), second[0], second[1], second[2], second[3]),
    )


_RESTARTED = ("quota", "ranker-leaf", "ranker", "cg", "indexer", "enrich", "blender", "ingest")
_WRONG_FOR_S = 15.0
_SOUND = ("answers_are_sound", "feed_in_deadline", "goodput_holds")


def _wrong(kind: str, service: str, description: str, share: float = 1.0, checks: tuple[str, ...] = _SOUND) -> Scenario:
    """A dependency that answers, and wrongly."""
    fault = Fault(5.0, f"wrong_{kind}", service, _WRONG_FOR_S, share)
    return Scenario(f"{service.replace('-', '_')}_{kind}", description, _always(fault), checks, wrong=service)


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
        _within(4, 10, "pause", "kafka-1", 5.0),
        (*SAFETY, "feed_in_deadline"),
    ),
    Scenario(
        "lost_acks",
        "the broker writes, and the connection of ingest ends before it says so, three times in ten",
        _always(Fault(4.0, "lost_acks", "kafka-1", 18.0)),
        SAFETY,
        link=("ingest", "kafka-1"),
    ),
    Scenario(
        "disk_full",
        "no file of the broker may grow for four seconds: it ends itself, and is started again",
        _within(5, 9, "disk_full", "kafka-1", 4.0),
        (*SAFETY, "feed_in_deadline"),
    ),
    Scenario(
        "rebalance_storm",
        "members that do nothing join the indexer's group and leave it, for fifteen seconds",
        _always(Fault(4.0, "join", "kafka-1", 15.0)),
        SAFETY,
    ),
    Scenario(
        "valkey_flush",
        "FLUSHALL of the online store, and a rebuild afterwards",
        _within(8, 14, "flush", "valkey"),
        (*STORED, "cache_rebuildable", "feed_in_deadline"),
        needs_rebuild=True,
    ),
    Scenario(
        "valkey_death",
        "SIGKILL of the online store, back after five seconds, and a rebuild of what it forgot",
        _within(6, 12, "kill", "valkey", 5.0),
        (*STORED, "cache_rebuildable", "feed_in_deadline"),
        needs_rebuild=True,
    ),
    Scenario(
        "wrong_types",
        "twenty keys of sequences become lists, and a rebuild afterwards",
        _within(10, 14, "change_type", "valkey", strength=20.0),
        (*STORED, "cache_rebuildable", "poison_stalls_shortly"),
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
        "every service stopped in order and started again, one after the other; both doors have two processes",
        _always(*(Fault(1.0 + place, "restart", name) for place, name in enumerate(_RESTARTED))),
        (*SAFETY, "graceful_restart"),
        phases=(Phase(CALLS_PER_S, 400.0),),
        control_phases=(Phase(CALLS_PER_S, DURATION_S),),
        twins=("blender", "ingest"),
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
        "control_planes_away",
        "quota and the broker away for twelve seconds, with the definitions' topic; the ranker's root starts meanwhile",
        _always(
            Fault(3.0, "away", "quota", 16.0), Fault(5.0, "kill", "kafka-1", 12.0), Fault(7.0, "restart", "ranker")
        ),
        (*SAFETY, *STATIC),
    ),
    Scenario(
        "corrupt_bundles",
        "a ranker and definitions with a turned byte are announced as if they were sound",
        _always(Fault(6.0, "bad_bundle", "ranker"), Fault(12.0, "bad_bundle", "definitions")),
        (*SAFETY, *STATIC, "versions_stay"),
        bad_bundles=("ranker", "definitions"),
    ),
    Scenario(
        "certificates_change",
        "another authority takes the place of the one of the start, in three steps",
        _always(Fault(3.0, "rotate", "tls", 24.0)),
        (*SAFETY, *STATIC),
        house="tls",
    ),
    Scenario(
        "zone_dead",
        "every process of the other zone is killed, its store as well, and stays away",
        _always(Fault(6.0, "zone_away", "zone:b", 14.0)),
        (*STORED, "zone_isolation", "feed_in_deadline"),
        house="zones",
    ),
    Scenario(
        "zone_grey",
        "every process of the other zone stands still and keeps its connections",
        _always(Fault(6.0, "zone_pause", "zone:b", 10.0)),
        (*STORED, "zone_isolation", "feed_in_deadline"),
        house="zones",
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
        "clock_steps",
        "surfaces' clocks are an hour behind or ahead of one moment to the next",
        _always(),
        SAFETY,
        clock_steps_ms=HOUR_MS,
    ),
    _wrong("empty", "cg", "cg finds nothing, and says so as if it were true"),
    _wrong("nan", "ranker-leaf", "every number of the ranker leaf is NaN"),
    _wrong("stale", "indexer", "the indexer answers each question as it did the first time"),
    _wrong("slow", "ranker-leaf", "one answer in a hundred of the leaf comes half a second late", 0.01),
    _wrong("error", "indexer", "one answer in a hundred of the indexer is an error", 0.01, (*_SOUND, *SAFETY)),
    Scenario(
        "retry_storm",
        "half of cg's answers are errors that ask to be tried again",
        _always(Fault(5.0, "wrong_error", "cg", _WRONG_FOR_S, 0.5)),
        (*SERVING, "answers_are_sound"),
        wrong="cg",
    ),
    Scenario(
        "soak",
        "five minutes with two faults a minute: memory stays where it is",
        _mixed,
        (*SAFETY, "memory_is_flat"),
        phases=(Phase(CALLS_PER_S, 300.0),),
        control_phases=(Phase(CALLS_PER_S, DURATION_S),),
        bad_bundles=("ranker",),
        num_rounds=5,
    ),
    Scenario(
        "all_is_well",
        "no fault at all: what everything else is measured against",
        _always(),
        (*SAFETY, *SERVING, "traces_are_joined", "answers_are_sound"),
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def scenario(name: str) -> Scenario:
    """Raises: NotFound naming those that there are."""
    if name not in SCENARIOS:
        raise NotFound(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}", field="scenario")
    return SCENARIOS[name]
