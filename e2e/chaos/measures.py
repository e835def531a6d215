"""Numbers that checks compare: shares, attempts, slopes, quantiles of one history."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from e2e.chaos.history import INFO, OK, History, Record

DEADLINE_MS = 250.0
SLACK_MS = 250.0  # the client's and the wire's part on two busy cores
PEAK_OVER_S = 5.0  # shorter, and one feed more or less decides
NEEDED = {"feed": {"blender", "cg", "ranker"}, "publish": {"ingest", "enrich", "indexer"}}


def reads(run: History) -> dict[str, Sequence[str]]:
    """The last read of each user."""
    return {record.key: record.value for record in run.of("read")}


def late_ratio(run: History) -> float:
    feeds = [one for one in run.of("feed") if one.outcome in (OK, INFO)]
    num_late = sum(1 for one in feeds if one.value["latency_ms"] > DEADLINE_MS + SLACK_MS)
    return num_late / max(1, len(feeds))


def attempts_per_feed(run: History) -> dict[str, float]:
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


def peak_of_attempts(run: History, process: str) -> float:
    """The most attempts for each feed within a few seconds; seconds with fewer than three feeds tell nothing."""
    last_s = max((one.t for one in run.of("feed")), default=0.0)
    peaks = [0.0]
    for begin_s in np.arange(0.0, last_s, PEAK_OVER_S):
        part = History([one for one in run.records if begin_s <= one.t < begin_s + PEAK_OVER_S])
        if sum(1 for _ in part.of("feed")) >= 3:
            peaks.append(attempts_per_feed(part).get(process, 0.0))
    return max(peaks)


def missing_services(trace: Record) -> list[str]:
    """A feed that names what it lacks need not have it."""
    missing = NEEDED[trace.key] - set(trace.value["services"])
    return [] if trace.value.get("degraded") else sorted(missing)


def error_ratio(run: History) -> float:
    calls = [*run.of("feed"), *run.of("publish")]
    return sum(one.outcome != OK for one in calls) / max(1, len(calls))


def p99_ms(run: History) -> float:
    took_ms = [float(one.value["latency_ms"]) for one in run.of("feed")]
    return float(np.quantile(took_ms, 0.99)) if took_ms else 0.0


def whole_share(run: History, away: Sequence[tuple[float, float]]) -> float:
    """Of feeds beside the times that a process was away."""
    feeds = [one for one in run.of("feed") if not any(begin_s <= one.t <= end_s for begin_s, end_s in away)]
    return sum(one.outcome == OK and not one.value["degraded"] for one in feeds) / max(1, len(feeds))


def slope(minutes: Sequence[float], values: Sequence[float]) -> float:
    """Least squares; 0 for fewer than three points."""
    return float(np.polyfit(minutes, values, 1)[0]) if len(minutes) >= 3 else 0.0
