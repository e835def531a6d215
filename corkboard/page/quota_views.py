"""What the quota pages show, as plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corkboard.commands.quota_calls import marks, state_name
from corkboard.commands.quota_values import shown_amount, shown_limit, shown_time
from corkboard.page.quota_backend import Overview, RuleStory
from protos.quota.v1 import quota_pb2 as pb

MINUTE_MS = 60_000
SPARK_WIDTH, SPARK_HEIGHT = 180, 30
CHART_WIDTH, CHART_HEIGHT = 960, 220
NUM_BUCKETS = 120
FULL, NEARLY = 1.0, 0.8


@dataclass(frozen=True)
class Meter:
    """How much of a limit is used; `level` is calm, near or full."""

    percent: float
    text: str
    level: str


@dataclass(frozen=True)
class Node:
    """One rule in the tree; its name is what its key adds to the rule above it."""

    name: str
    key: str
    depth: int
    limit: str
    meter: Meter | None
    refused: float
    spark: str
    tags: Sequence[str]
    waiting: str  # a newer version that is not in force yet


@dataclass(frozen=True)
class CapacityBar:
    """One resource of a team in a zone."""

    key: str
    zone: str
    team: str
    resource: str
    limit: str
    used: str
    meter: Meter | None
    drift: str


@dataclass(frozen=True)
class Chart:
    """Units per period over time as SVG paths: admitted from the ground, refused on top of it, the limit as a line."""

    admitted: str
    refused: str
    limit_y: float | None
    full_limit_y: float | None
    top: str
    begin: str
    end: str
    is_empty: bool


@dataclass(frozen=True)
class Step:
    """One line of the history."""

    when: str
    who: str
    what: str
    version: int
    change: str
    why: str


def tree(overview: Overview) -> list[Node]:
    """Every rate rule in force or in the making, each under the nearest rule above it."""
    published = {version.rule.key: version for version in overview.published if _is_rate(version)}
    newest = {each.rule.key: each for each in overview.newest if _is_rate(each) and state_name(each) != "revoked"}
    used = by_key(overview.usage)
    keys = sorted(published.keys() | newest.keys(), key=lambda key: key.split("/"))
    nodes = []
    for key in keys:
        above = [other for other in keys if key.startswith(f"{other}/")]
        prefix = len(max(above, key=len, default=""))
        node = _node(key, published.get(key), newest.get(key), used.get(key, []), overview.now_ms)
        nodes.append(replace(node, name=key[prefix:].lstrip("/"), depth=len(above)))
    return nodes


def by_key(usage: Iterable[pb.UsageWindow]) -> dict[str, list[pb.UsageWindow]]:
    """Minutes by rule."""
    found: dict[str, list[pb.UsageWindow]] = {}
    for window in usage:
        found.setdefault(window.key, []).append(window)
    return found


def meter(share: float, text: str) -> Meter:
    """A bar that is full at the limit."""
    level = "full" if share >= FULL else "near" if share >= NEARLY else "calm"
    return Meter(round(100 * min(1.0, max(0.0, share)), 1), text, level)


def capacity_bars(report: pb.CapacityReport) -> list[CapacityBar]:
    """In the order of the report."""
    return [
        CapacityBar(
            line.key,
            line.zone,
            line.team,
            line.resource,
            shown_amount(line.limit, line.unit),
            shown_amount(line.used, line.unit),
            meter(line.used / line.limit, f"{line.used / line.limit:.0%}") if line.used >= 0 and line.limit else None,
            (shown_amount(line.found, line.unit) or "nothing") if line.is_drifted else "",
        )
        for line in report.lines
    ]


def steps(history: Sequence[pb.AuditRecord]) -> list[Step]:
    """Newest first."""
    return [
        Step(
            shown_time(record.time_ms),
            record.actor,
            record.action,
            record.after.version,
            _change(record),
            record.why,
        )
        for record in reversed(history)
    ]


def in_force(history: Sequence[pb.AuditRecord]) -> pb.RuleVersion | None:
    """The published version, if there is one."""
    states: dict[int, pb.RuleVersion] = {record.after.version: record.after for record in history}
    return next((version for version in states.values() if state_name(version) == "published"), None)


def chart(story: RuleStory, rule: pb.Rule) -> Chart:
    """Usage in `NUM_BUCKETS` columns at most, each the mean of its minutes."""
    columns = _columns(story, rule)
    shown_limits = [limit for limit in (rule.limit, rule.full_limit) if 0 < limit < float("inf")]
    top = 1.1 * max([*(admitted + refused for admitted, refused in columns), *shown_limits, 1e-9])

    def y(units: float) -> float:
        return round(CHART_HEIGHT * (1 - units / top), 1)

    admitted = [y(each) for each, _ in columns]
    both = [y(each + refused) for each, refused in columns]
    return Chart(
        _area(admitted, [CHART_HEIGHT] * len(columns)),
        _area(both, admitted),
        y(rule.limit) if rule.limit in shown_limits else None,
        y(rule.full_limit) if rule.full_limit in shown_limits else None,
        shown_limit(top, rule.unit, rule.period_s, rule.kind),
        shown_time(story.from_ms),
        shown_time(story.to_ms),
        not story.usage,
    )


def sources(story: RuleStory) -> list[tuple[str, str, float, float]]:
    """(service, zone, admitted, refused), the largest first."""
    sums: dict[tuple[str, str], list[float]] = {}
    for window in story.usage:
        units = sums.setdefault((window.service, window.zone), [0.0, 0.0])
        units[0] += window.admitted
        units[1] += window.refused
    rows = [(service, zone, admitted, refused) for (service, zone), (admitted, refused) in sums.items()]
    return sorted(rows, key=lambda row: -row[2])


def _node(
    key: str,
    published: pb.RuleVersion | None,
    newest: pb.RuleVersion | None,
    usage: Sequence[pb.UsageWindow],
    now_ms: int,
) -> Node:
    shown = published or newest
    assert shown is not None  # noqa: S101 - a key comes from one of them
    rule = shown.rule
    is_waiting = newest is not None and (published is None or newest.version > published.version)
    waiting = f"version {newest.version} is {state_name(newest)}" if newest is not None and is_waiting else ""
    rates = _minute_rates(rule, usage, now_ms)
    share = max(rates[-10:], default=0.0) / rule.limit if rule.limit > 0 and rates else 0.0
    return Node(
        key,
        key,
        0,
        shown_limit(rule.limit, rule.unit, rule.period_s, rule.kind),
        meter(share, f"{share:.0%}") if published is not None else None,
        sum(window.refused + window.shadow_refused for window in usage),
        _spark(rates),
        _tags(rule, is_in_force=published is not None),
        waiting,
    )


def _is_rate(version: pb.RuleVersion) -> bool:
    return version.rule.kind != "capacity"


def _tags(rule: pb.Rule, *, is_in_force: bool) -> list[str]:
    found = [f"tier {rule.tier}", rule.owner, *filter(None, marks(rule).split(", "))]
    return found if is_in_force else ["not in force", *found]


def _minute_rates(rule: pb.Rule, usage: Sequence[pb.UsageWindow], now_ms: int) -> list[float]:
    """Units per rule period of each whole minute of the last hour; of the mean process when each has the limit."""
    this_minute = now_ms // MINUTE_MS
    units, instances = [0.0] * 60, [0] * 60
    for window in usage:
        place = 60 - (this_minute - window.window_start_ms // MINUTE_MS)
        if 0 <= place < 60:
            units[place] += window.admitted
            instances[place] += max(1, window.num_instances)
    shares = [1 if rule.is_global else max(1, number) for number in instances]
    return [amount / share * rule.period_s / 60.0 for amount, share in zip(units, shares, strict=True)] if usage else []


def _spark(rates: Sequence[float]) -> str:
    if not rates:
        return ""
    top = max(*rates, 1e-9)
    step = SPARK_WIDTH / (len(rates) - 1)
    points = [(round(step * i, 1), round(SPARK_HEIGHT * (1 - 0.9 * rate / top), 1)) for i, rate in enumerate(rates)]
    return "M" + " L".join(f"{x} {y}" for x, y in points)


def _columns(story: RuleStory, rule: pb.Rule) -> list[tuple[float, float]]:
    """(admitted, refused), units per rule period."""
    num_minutes = max(1, (story.to_ms - story.from_ms) // MINUTE_MS)
    num = min(NUM_BUCKETS, num_minutes)
    totals = [[0.0, 0.0, 0.0] for _ in range(num)]
    for window in story.usage:
        place = min(num - 1, max(0, (window.window_start_ms - story.from_ms) * num // (story.to_ms - story.from_ms)))
        totals[place][0] += window.admitted
        totals[place][1] += window.refused
        totals[place][2] += max(1, window.num_instances)
    minutes = num_minutes / num
    columns = []
    for admitted, refused, instances in totals:
        processes = 1.0 if rule.is_global else max(1.0, instances / minutes)
        per_period = rule.period_s / 60.0 / minutes / processes
        columns.append((admitted * per_period, refused * per_period))
    return columns


def _area(upper: Sequence[float], lower: Sequence[float]) -> str:
    if not upper:
        return ""
    step = CHART_WIDTH / max(1, len(upper) - 1)
    there = [f"{round(step * i, 1)} {y}" for i, y in enumerate(upper)]
    back = [f"{round(step * i, 1)} {y}" for i, y in reversed(list(enumerate(lower)))]
    return f"M{' L'.join(there)} L{' L'.join(back)} Z"


def _change(record: pb.AuditRecord) -> str:
    rule = record.after.rule
    limit = shown_limit(rule.limit, rule.unit, rule.period_s, rule.kind)
    return f"{limit} ({state_name(record.after)})"
