"""Invariants as pure functions: a run's history and its control's → what is wrong, in words; empty = it holds.

The control has the same seed and no faults. Safety looks at the run alone; what depends on the machine looks at the
difference.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from e2e.chaos.history import FAIL, INFO, OK, History, Record, windows

Check = Callable[[History, History], list[str]]

DEADLINE_MS = 250.0
SLACK_MS = 250.0  # the client's and the wire's part on two busy cores
LATE_RATIO = 0.02  # more late feeds than the control has
STALL_MS = 1_000.0
AMPLIFICATION = 2.0
GOODPUT_RATIO = 0.8
SLOPE_MB_PER_MIN = 1.0
WARM_UP_S = 60.0
RECOVERY_S = 5.0
NAMED: Mapping[str, frozenset[str]] = {
    "cg": frozenset({"retrieve", "cg"}),
    "ranker": frozenset({"rank", "ranker"}),
    "ranker-leaf": frozenset({"ranker_leaf", "rank", "ranker"}),
}


def no_acknowledged_event_lost(run: History, _: History) -> list[str]:
    """Every event that ingest acknowledged is in its user's sequence at the end."""
    reads = _reads(run)
    return [
        f"{record.value['event_id']} of {record.key} was acknowledged and cannot be read"
        for record in run.of("publish")
        if record.outcome == OK and record.value["event_id"] not in reads.get(record.key, ())
    ]


def none_twice(run: History, _: History) -> list[str]:
    """No sequence holds an event more than once."""
    found = ((user, event, count) for user, ids in _reads(run).items() for event, count in Counter(ids).items())
    return [f"{event} is {count} times in the sequence of {user}" for user, event, count in found if count > 1]


def nothing_invented(run: History, _: History) -> list[str]:
    """Sequences hold only what was sent for that user and not refused."""
    sent = {(record.key, record.value["event_id"]) for record in run.of("publish") if record.outcome != FAIL}
    return [
        f"{event} in the sequence of {user} was never sent, or was refused"
        for user, ids in _reads(run).items()
        for event in ids
        if (user, event) not in sent
    ]


def per_user_order(run: History, _: History) -> list[str]:
    """A sequence is in the order of its events' times."""
    times = {record.value["event_id"]: record.value["event_time_ms"] for record in run.of("publish")}
    wrong = []
    for user, ids in _reads(run).items():
        known = [event for event in ids if event in times]
        pairs = itertools.pairwise(known)
        wrong += [f"{user}: {after} comes behind {before}" for before, after in pairs if times[after] < times[before]]
    return wrong


def feed_in_deadline(run: History, control: History) -> list[str]:
    """Feeds come without an error and in the deadline, but for what a run without faults misses as well."""
    errors = [f"feed of {one.key} at {one.t:.1f} s: {one.value['code']}" for one in run.of("feed") if one.outcome != OK]
    allowed = _late_ratio(control) + LATE_RATIO
    late = _late_ratio(run)
    slow = [f"{late:.1%} of feeds took more than {DEADLINE_MS + SLACK_MS:.0f} ms; allowed {allowed:.1%}"]
    return errors + (slow if late > allowed else [])


def degraded_is_named(run: History, _: History) -> list[str]:
    """An answer without items, or while a part was away or paused from before it was sent, says what is missing."""
    away = [one for one in windows(run) if one.target in NAMED and one.action in ("pause", "stop")]
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
    """The parts behind a feed do not see many more attempts for each feed than without faults."""
    usual, found = _attempts_per_feed(control), _attempts_per_feed(run)
    return [
        f"{process} saw {found[process]:.2f} attempts for each feed; {count:.2f} without faults"
        for process, count in usual.items()
        if count and found.get(process, 0.0) > AMPLIFICATION * count
    ]


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
    """In a rolling restart no call fails, but for those sent to a door while its only process was away."""
    doors = {"feed": "blender", "publish": "ingest"}
    away = windows(run)
    wrong = []
    for call in (*run.of("feed"), *run.of("publish")):
        door = doors[call.op]
        is_away = any(one.target == door and one.begin_s - 0.1 <= call.t <= one.end_s + 1.0 for one in away)
        if call.outcome != OK and not (is_away and call.value["code"] == "UNAVAILABLE"):
            wrong.append(f"{call.op} at {call.t:.1f} s failed with {call.value['code']}")
    return wrong


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
    """After warm-up no process grows by more than a megabyte a minute; a process that was restarted is a new one."""
    series: dict[str, list[Record]] = defaultdict(list)
    for one in run.of("sample"):
        if one.key.startswith("resident_mb"):
            series[f"{one.process} {one.key}"].append(one)
    wrong = []
    for name, samples in series.items():
        warm = [one for one in samples if one.t > samples[0].t + WARM_UP_S]
        slope = _slope([one.t / 60 for one in warm], [float(one.value) for one in warm])
        if slope > SLOPE_MB_PER_MIN:
            wrong.append(f"{name.split()[0]} grows by {slope:.1f} MB a minute")
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
        poison_stalls_shortly,
        poison_is_parked,
        graceful_restart,
        goodput_holds,
        memory_is_flat,
    )
}


def _reads(run: History) -> dict[str, Sequence[str]]:
    """The last read of each user."""
    return {record.key: record.value for record in run.of("read")}


def _late_ratio(run: History) -> float:
    feeds = [one for one in run.of("feed") if one.outcome in (OK, INFO)]
    num_late = sum(1 for one in feeds if one.value["latency_ms"] > DEADLINE_MS + SLACK_MS)
    return num_late / max(1, len(feeds))


def _attempts_per_feed(run: History) -> dict[str, float]:
    """Calls that servers saw, so retries below our own code count; a counter that falls began again."""
    num_feeds = sum(1 for _ in run.of("feed"))
    last: dict[str, Any] = {}
    total: dict[str, float] = {}
    for one in run.of("sample"):
        if one.key == "server_calls":
            before = last.get(one.process, one.value)
            total[one.process] = total.get(one.process, 0.0) + (
                one.value - before if one.value >= before else one.value
            )
            last[one.process] = one.value
    return {process: count / max(1, num_feeds) for process, count in total.items()}


def _slope(minutes: Sequence[float], values: Sequence[float]) -> float:
    """Least squares; 0 for fewer than three points."""
    return float(np.polyfit(minutes, values, 1)[0]) if len(minutes) >= 3 else 0.0
