"""What the templates show, as plain values."""

import colorsys
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from corkboard.page.backend import Point, Shown
from corkboard.traces.store import SpanRow
from corkboard.traces.waterfall import JoinedTrace, in_tree_order, short_name, shown_window
from protos.blender.v1 import blender_pb2

WORDS = {
    "related_to_subject": "like the pin you opened",
    "fresh": "new",
    "popular": "popular now",
    "because_you_saved": "because of what you just saved",
    "because_you_clicked": "because of what you just opened",
    "because_you_shared": "because of what you just shared",
    "similar_to_your_history": "like what you saved before",
}
CHART_WIDTH, CHART_HEIGHT, MARGIN = 420, 240, 36
COLOURS = ("#2563eb", "#ea580c", "#16a34a", "#dc2626", "#9333ea", "#0891b2", "#a16207", "#db2777")


@dataclass(frozen=True)
class Card:
    """One pin on the wall. `change` says where it stood in the pool before the last event."""

    pin_id: str
    title: str
    topics: str
    is_ad: bool
    position: int
    why: str
    moved: str
    change: str
    heads: Sequence[tuple[str, float]]
    score: float
    diversity_bonus: float
    spacing_penalty: float
    colours: tuple[str, str]


@dataclass(frozen=True)
class Bar:
    """One stage of the funnel."""

    stage: str
    num_in: int
    num_kept: int
    duration_ms: float
    fallback: str
    width_percent: float


@dataclass(frozen=True)
class SpanBar:
    """One span of a waterfall."""

    service: str
    name: str
    depth: int
    duration_ms: float
    left_percent: float
    width_percent: float
    colour: str
    is_error: bool


@dataclass(frozen=True)
class Line:
    """One strategy in the frontier picture."""

    strategy: str
    colour: str
    path: str
    dots: Sequence[tuple[float, float, str]]


def cards(shown: Shown, before: blender_pb2.ExplainFeedResponse | None) -> list[Card]:
    """The wall, in order."""
    why = {item.pin_id: item for item in shown.why.items}
    now = {item.pin_id: item.rank_by_score for item in shown.why.pool}
    then = {item.pin_id: item.rank_by_score for item in before.pool} if before else {}
    return [
        _card(item, shown.pins.get(item.pin_id, {}), why.get(item.pin_id), _change(item.pin_id, then, now))
        for item in shown.feed.items
    ]


def _card(item: Any, pin: dict[str, Any], why: Any, change: str) -> Card:
    heads = sorted(why.score_by_head.items(), key=lambda pair: -pair[1]) if why else []
    topics = pin.get("topics") or []
    return Card(
        pin_id=item.pin_id,
        title=pin.get("title") or item.pin_id,
        topics=", ".join(topics),
        is_ad=bool(pin.get("advertiser_id")),
        position=item.position + 1,
        why=WORDS.get(item.reason_code, item.reason_code),
        moved=_moved(why),
        change=change,
        heads=heads,
        score=item.score,
        diversity_bonus=why.diversity_bonus if why else 0.0,
        spacing_penalty=why.spacing_penalty if why else 0.0,
        colours=colours_of(topics[0] if topics else item.pin_id, item.pin_id),
    )


def _moved(why: Any) -> str:
    if why is None or not why.moved_by or not why.places_moved:
        return ""
    direction = "up" if why.places_moved > 0 else "down"
    return f"{abs(why.places_moved)} places {direction} by {why.moved_by}"


def _change(pin_id: str, then: dict[str, int], now: dict[str, int]) -> str:
    if not then:
        return ""
    was, is_now = then.get(pin_id, -1), now.get(pin_id, -1)
    if was < 0:
        return "new candidate"
    return f"{was - is_now:+d} by score" if was != is_now else ""


def colours_of(topic: str, pin_id: str) -> tuple[str, str]:
    """Pins of one topic look alike, no two pins look the same."""
    hue = int(hashlib.sha256(topic.encode()).hexdigest()[:4], 16) / 0xFFFF
    shift = int(hashlib.sha256(pin_id.encode()).hexdigest()[:4], 16) / 0xFFFF
    first = colorsys.hls_to_rgb(hue, 0.62 + 0.12 * shift, 0.55)
    second = colorsys.hls_to_rgb((hue + 0.04 + 0.08 * shift) % 1.0, 0.42, 0.6)
    return _hex(first), _hex(second)


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def funnel(why: blender_pb2.ExplainFeedResponse) -> list[Bar]:
    """Stages with how much came through, relative to the most that any stage met."""
    most = max((max(stage.num_in, stage.num_kept) for stage in why.stages), default=1) or 1
    return [
        Bar(
            stage.stage,
            stage.num_in,
            stage.num_kept,
            stage.duration_ms,
            stage.fallback,
            100.0 * stage.num_kept / most,
        )
        for stage in why.stages
    ]


def waterfalls(trace: JoinedTrace) -> list[tuple[str, list[SpanBar]]]:
    """(trace id, bars) of the trace and of those joined to it."""
    traces = [spans for spans in [trace.spans, *trace.joined] if spans]
    services = dict.fromkeys(span.service for spans in traces for span in spans)
    colour = {service: COLOURS[number % len(COLOURS)] for number, service in enumerate(services)}
    return [(spans[0].trace_id, list(_bars(spans, colour))) for spans in traces]


def _bars(spans: Sequence[SpanRow], colour: dict[str, str]) -> Iterator[SpanBar]:
    start_ns, total_ns = shown_window(spans)
    for depth, span in in_tree_order(spans):
        left = min(99.0, 100.0 * (span.start_ns - start_ns) / total_ns)
        width = min(100.0 - left, max(0.4, 100.0 * (span.end_ns - span.start_ns) / total_ns))
        yield SpanBar(
            span.service,
            short_name(span.name),
            depth,
            span.duration_ms,
            left,
            width,
            colour[span.service],
            span.status == "error",
        )


def frontier(points: Sequence[Point]) -> list[Line]:
    """Relevance kept to the right, distance upwards."""
    if not points:
        return []
    low_x, low_y = min(point.relevance_kept for point in points), min(point.distance for point in points)
    span_x = max(max(point.relevance_kept for point in points) - low_x, 1e-6)
    span_y = max(max(point.distance for point in points) - low_y, 1e-6)

    def place(point: Point) -> tuple[float, float, str]:
        x = MARGIN + (CHART_WIDTH - 2 * MARGIN) * (point.relevance_kept - low_x) / span_x
        y = CHART_HEIGHT - MARGIN - (CHART_HEIGHT - 2 * MARGIN) * (point.distance - low_y) / span_y
        kept = f"{100 * point.relevance_kept:.1f} % relevance"
        return round(x, 1), round(y, 1), f"weight {point.weight:g}: {kept}, distance {point.distance:.3f}"

    lines = []
    for number, strategy in enumerate(dict.fromkeys(point.strategy for point in points)):
        dots = [place(point) for point in points if point.strategy == strategy]
        path = "M" + " L".join(f"{x} {y}" for x, y, _ in dots)
        lines.append(Line(strategy, COLOURS[number % len(COLOURS)], path, dots))
    return lines
