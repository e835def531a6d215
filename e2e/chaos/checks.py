"""Invariants as pure functions: a run's history and its control's → what is wrong, in words; empty = it holds.

The control has the same seed and no faults. Safety looks at the run alone; what depends on the machine looks at the
difference.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from e2e.chaos.history import FAIL, OK, History, Record, windows
from e2e.chaos.measures import (
    DEADLINE_MS,
    PEAK_OVER_S,
    SLACK_MS,
    attempts_per_feed,
    error_ratio,
    late_ratio,
    missing_services,
    p99_ms,
    peak_of_attempts,
    reads,
    slope,
    whole_share,
)

Check = Callable[[History, History], list[str]]

LATE_RATIO = 0.02  # more late feeds than the control has
STALL_MS = 1_000.0
STEADY_AMPLIFICATION, PEAK_AMPLIFICATION = 1.2, 2.0
JOINED_RATIO = 0.99
ZONE_ERROR_RATIO, ZONE_P99_RATIO, ZONE_NOISE_MS = 0.001, 1.2, 50.0
CALM_S = 10.0  # from a fault's end until what it tore is whole again
GOODPUT_RATIO = 0.8
SLOPE_MB_PER_MIN = 1.0
WARM_UP_S, WARM_UP_SHARE = 60.0, 1 / 3  # of a process's time, whichever is longer: caches fill for minutes
# heap and maxmemory of corkboard/local, and what lies beside
STORE_LIMIT_MB = {"kafka": 512 + 320, "valkey": 512 + 128}
RECOVERY_S = 5.0
START_S = 20.0  # a process with all it needs on its disk, on two busy cores
NAMED: Mapping[str, frozenset[str]] = {
    "cg": frozenset({"retrieve", "cg"}),
    "ranker": frozenset({"rank", "ranker"}),
    "ranker-leaf": frozenset({"ranker_leaf", "rank", "ranker"}),
}


def no_acknowledged_event_lost(run: History, _: History) -> list[str]:
    """Every event that ingest acknowledged is in its user's sequence at the end."""
    found = reads(run)
    return [
        f"{record.value['event_id']} of {record.key} was acknowledged and cannot be read"
        for record in run.of("publish")
        if record.outcome == OK and record.value["event_id"] not in found.get(record.key, ())
    ]


def none_twice(run: History, _: History) -> list[str]:
    """No sequence holds an event more than once."""
    found = ((user, event, count) for user, ids in reads(run).items() for event, count in Counter(ids).items())
    return [f"{event} is {count} times in the sequence of {user}" for user, event, count in found if count > 1]


def nothing_invented(run: History, _: History) -> list[str]:
    """Sequences hold only what was sent for that user and not refused."""
    sent = {(record.key, record.value["event_id"]) for record in run.of("publish") if record.outcome != FAIL}
    return [
        f"{event} in the sequence of {user} was never sent, or was refused"
        for user, ids in reads(run).items()
        for event in ids
        if (user, event) not in sent
    ]


def per_user_order(run: History, _: History) -> list[str]:
    """A sequence is in the order of its events' times."""
    times = {record.value["event_id"]: record.value["event_time_ms"] for record in run.of("publish")}
    wrong = []
    for user, ids in reads(run).items():
        known = [event for event in ids if event in times]
        pairs = itertools.pairwise(known)
        wrong += [f"{user}: {after} comes behind {before}" for before, after in pairs if times[after] < times[before]]
    return wrong


def feed_in_deadline(run: History, control: History) -> list[str]:
    """Feeds come without an error and in the deadline, but for what a run without faults misses as well."""
    errors = [f"feed of {one.key} at {one.t:.1f} s: {one.value['code']}" for one in run.of("feed") if one.outcome != OK]
    allowed = late_ratio(control) + LATE_RATIO
    late = late_ratio(run)
    slow = [f"{late:.1%} of feeds took more than {DEADLINE_MS + SLACK_MS:.0f} ms; allowed {allowed:.1%}"]
    return errors + (slow if late > allowed else [])


def degraded_is_named(run: History, _: History) -> list[str]:
    """An answer without items, or while a part was away or paused from before it was sent, says what is missing."""
    away = [one for one in windows(run) if one.target in NAMED and one.action in ("pause", "stop", "away")]
    wrong = []
    for feed in run.of("feed"):
        named = feed.value.get("degraded", ())
        if feed.outcome == OK and not feed.value["items"] and not named:
            wrong.append(f"empty feed of {feed.key} at {feed.t:.1f} s names nothing")
        for one in away:
            began_s = feed.t - feed.value["latency_ms"] / 1000
            is_inside = feed.outcome == OK and one.begin_s + 0.5 < began_s and feed.t < one.end_s
            if is_inside and not any(word in part for part in named for word in NAMED[one.target]):
                wrong.append(f"feed of {feed.key} at {feed.t:.1f} s without {one.target} names only {sorted(named)}")
    return wrong


def cache_rebuildable(run: History, control: History) -> list[str]:
    """After the store was lost, a rebuild ran to its end and everything acknowledged is there again."""
    if not any(record.outcome == OK for record in run.of("rebuild")):
        return ["no rebuild of the online store came to its end"]
    return no_acknowledged_event_lost(run, control)


def retry_amplification(run: History, control: History) -> list[str]:
    """The parts behind a feed see at most 1.2 times the usual attempts for it, at most twice in any five seconds."""
    wrong = []
    for process, usual in attempts_per_feed(control).items():
        steady, peak = attempts_per_feed(run).get(process, 0.0), peak_of_attempts(run, process)
        if usual and steady > STEADY_AMPLIFICATION * usual:
            wrong.append(f"{process} saw {steady:.2f} attempts for each feed; {usual:.2f} without faults")
        usual_peak = max(usual, peak_of_attempts(control, process))
        if usual and peak > PEAK_AMPLIFICATION * usual_peak:
            wrong.append(
                f"{process} saw {peak:.2f} attempts for each feed within {PEAK_OVER_S:.0f} s; {usual_peak:.2f}"
            )
    return wrong


def commit_follows_effect(run: History, _: History) -> list[str]:
    """Everything before a committed offset has had its effect."""
    return [
        f"{one.key} committed {event} at {one.t:.1f} s, and it has had no effect"
        for one in run.of("commit")
        for event in one.value["missing"]
    ]


def traces_are_joined(run: History, _: History) -> list[str]:
    """At least 99 % of traces have every service in them and no span without its parent; not around faults."""
    faults = windows(run)
    calm = [one for one in run.of("trace") if not any(each.begin_s <= one.t <= each.end_s + CALM_S for each in faults)]
    torn = [one for one in calm if one.value["num_orphans"] or missing_services(one)]
    if len(torn) <= (1 - JOINED_RATIO) * len(calm):
        return [] if calm else ["no trace was seen"]
    examples = [
        f"{one.key} {one.trace}: {one.value['num_orphans']} orphans, no {missing_services(one)}" for one in torn
    ]
    return [f"{len(torn)} of {len(calm)} traces are not whole", *examples[:5]]


def answers_are_sound(run: History, _: History) -> list[str]:
    """A feed that came has items, and scores that are numbers, whatever the parts behind it say."""
    wrong = []
    for feed in run.of("feed"):
        if feed.outcome == OK and not feed.value["items"]:
            wrong.append(f"feed of {feed.key} at {feed.t:.1f} s is empty")
        if feed.outcome == OK and not feed.value.get("finite", True):
            wrong.append(f"feed of {feed.key} at {feed.t:.1f} s has a score that is no number")
    return wrong


def statically_stable(run: History, control: History) -> list[str]:
    """What only steers may be away: feeds stay whole, but for a fifth, and a process that starts meanwhile does so."""
    restarts = [one for one in windows(run) if one.action == "restart"]
    slow = [
        f"{one.target} took {one.end_s - one.begin_s:.0f} s to start, from {one.begin_s:.0f} s on"
        for one in restarts
        if one.end_s - one.begin_s > START_S
    ]
    away = [(one.begin_s, one.end_s + RECOVERY_S) for one in restarts]
    shares = [whole_share(each, away) for each in (run, control)]
    if shares[0] < 0.8 * shares[1]:
        slow.append(f"{shares[0]:.1%} of feeds are whole; {shares[1]:.1%} without faults")
    return slow


def zone_isolation(run: History, control: History) -> list[str]:
    """What befalls another zone is not felt here: errors at most +0.1 %, p99 of feeds at most +20 % and 50 ms."""
    errors, usual_errors = error_ratio(run), error_ratio(control)
    slow_ms, usual_ms = p99_ms(run), p99_ms(control)
    wrong = []
    if errors > usual_errors + ZONE_ERROR_RATIO:
        wrong.append(f"{errors:.2%} of calls failed; {usual_errors:.2%} without faults")
    if slow_ms > usual_ms * ZONE_P99_RATIO + ZONE_NOISE_MS:
        wrong.append(f"p99 of feeds was {slow_ms:.0f} ms; {usual_ms:.0f} ms without faults")
    return wrong


def versions_stay(run: History, _: History) -> list[str]:
    """No feed is made with a version that was announced broken, and none of an artefact goes away."""
    bad = {one.value for one in run.of("sample") if one.key == "bad_bundle"}
    if not bad and any(one.action == "bad_bundle" for one in windows(run)):
        return ["no broken version was announced"]
    used = {version for feed in run.of("feed") for version in feed.value.get("versions", {}).values()}
    return [f"feeds were made with {version}, which is broken" for version in sorted(bad & used)]


def poison_stalls_shortly(run: History, control: History) -> list[str]:
    """A record that nobody can read delays its partition's others by less than a second."""
    usual = max((one.value for one in control.of("fresh")), default=0.0)
    return [
        f"partition {one.key}: an event at {one.t:.1f} s took {one.value:.0f} ms to be readable; "
        f"at most {usual:.0f} ms without poison"
        for one in run.of("fresh")
        if one.value > usual + STALL_MS
    ]


def poison_is_parked(run: History, _: History) -> list[str]:
    """What nobody can read lies parked, each record once at least and none left out."""
    sent = sum(one.key == "poison" for one in run.of("sample"))
    parked = sum(one.value for one in run.of("sample") if one.key == "parked")
    return [] if parked >= sent else [f"{sent} unreadable records were sent, {parked} are parked"]


def graceful_restart(run: History, _: History) -> list[str]:
    """In a rolling restart with two processes at each door no call fails."""
    return [
        f"{call.op} at {call.t:.1f} s failed with {call.value['code']}"
        for call in (*run.of("feed"), *run.of("publish"))
        if call.outcome != OK
    ]


def goodput_holds(run: History, control: History) -> list[str]:
    """Under overload, and after every fault, at least 80 % of the good feeds of the control come."""
    last_s = max((one.end_s for one in windows(run)), default=0.0) + RECOVERY_S
    good = [sum(one.outcome == OK and one.t >= last_s for one in each.of("feed")) for each in (run, control)]
    return (
        [f"{good[0]} good feeds after {last_s:.0f} s; {good[1]} without faults"]
        if good[0] < GOODPUT_RATIO * good[1]
        else []
    )


def memory_is_flat(run: History, _: History) -> list[str]:
    """After warm-up no process grows by more than a megabyte a minute; a process that was restarted is a new one.

    A store may fill what it was given; it must not take more.
    """
    series: dict[str, list[Record]] = defaultdict(list)
    for one in run.of("sample"):
        if one.key.startswith("resident_mb"):
            series[f"{one.process} {one.key}"].append(one)
    wrong = []
    for name, samples in series.items():
        process = name.split()[0]
        limit_mb = STORE_LIMIT_MB.get(process.split("-")[0])
        if limit_mb is not None:
            most_mb = max(float(one.value) for one in samples)
            wrong += [f"{process} takes {most_mb:.0f} MB, more than {limit_mb}"] if most_mb > limit_mb else []
            continue
        first_s, last_s = samples[0].t, samples[-1].t
        warm = [one for one in samples if one.t > first_s + max(WARM_UP_S, (last_s - first_s) * WARM_UP_SHARE)]
        growth = slope([one.t / 60 for one in warm], [float(one.value) for one in warm])
        if growth > SLOPE_MB_PER_MIN:
            wrong.append(f"{process} grows by {growth:.1f} MB a minute")
    return wrong


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        no_acknowledged_event_lost,
        none_twice,
        nothing_invented,
        per_user_order,
        feed_in_deadline,
        degraded_is_named,
        cache_rebuildable,
        retry_amplification,
        commit_follows_effect,
        traces_are_joined,
        answers_are_sound,
        statically_stable,
        zone_isolation,
        versions_stay,
        poison_stalls_shortly,
        poison_is_parked,
        graceful_restart,
        goodput_holds,
        memory_is_flat,
    )
}
