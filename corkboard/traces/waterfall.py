"""Draws a trace, and the traces it is joined to, as a waterfall in the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from corkboard.traces.store import SpanRow, TraceStore

MAX_JOINED_TRACES = 2  # in each direction; the newest first
MAX_TAIL_NS = 1_000_000_000  # what ends later than this after the first span is cut off in the picture
CARRIER_SPANS = ("flush %", "process %")
BAR_WIDTH = 36
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red", "bright_cyan", "bright_green", "bright_magenta")


@dataclass(frozen=True)
class JoinedTrace:
    """A trace with the traces that links join to it, nearest first."""

    spans: list[SpanRow]
    joined: list[list[SpanRow]]

    def to_json(self) -> dict[str, object]:
        return {
            "spans": [vars(span) for span in self.spans],
            "joined": [[vars(span) for span in trace] for trace in self.joined],
        }


def join(store: TraceStore, trace_id: str) -> JoinedTrace:
    """Read `trace_id`, what it links to, what links to it, and the envelopes that carried what it links to."""
    causes = store.links_from(trace_id)[:MAX_JOINED_TRACES]
    carriers = [carrier for cause in causes for carrier in store.links_to(cause, CARRIER_SPANS)]
    effects = store.links_to(trace_id)[:MAX_JOINED_TRACES]
    others = [other for other in dict.fromkeys([*causes, *carriers, *effects]) if other != trace_id]
    return JoinedTrace(store.trace(trace_id), [store.trace(other) for other in others])


def draw(trace: JoinedTrace) -> RenderableType:
    """The waterfall of the trace, then one of each joined trace."""
    colours = _colours(span.service for spans in [trace.spans, *trace.joined] for span in spans)
    parts: list[RenderableType] = [_one(trace.spans, "trace", colours)]
    parts += [_one(spans, "joined by a link", colours) for spans in trace.joined if spans]
    return Group(*parts)


def _colours(services: Iterable[str]) -> dict[str, str]:
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(services))}


def _one(spans: Sequence[SpanRow], title: str, colours: dict[str, str]) -> Table:
    start_ns, total_ns = shown_window(spans)
    table = Table(title=f"{title} {spans[0].trace_id}", title_justify="left", box=None, pad_edge=False)
    for heading, options in (("service", {}), ("span", {"overflow": "fold"}), ("ms", {"justify": "right"}), ("", {})):
        table.add_column(heading, **options)  # type: ignore[arg-type]
    for depth, span in in_tree_order(spans):
        colour = colours[span.service]
        name = Text("  " * depth + short_name(span.name), style="bold red" if span.status == "error" else "")
        table.add_row(
            Text(span.service, style=colour), name, f"{span.duration_ms:.1f}", _bar(span, start_ns, total_ns, colour)
        )
    return table


def shown_window(spans: Sequence[SpanRow]) -> tuple[int, int]:
    """(start, length) of what a picture shows, nanoseconds: a long tail is cut off."""
    start_ns = min(span.start_ns for span in spans)
    root_end_ns = min(spans, key=lambda span: span.start_ns).end_ns
    return start_ns, max(1, min(max(span.end_ns for span in spans), root_end_ns + MAX_TAIL_NS) - start_ns)


def short_name(name: str) -> str:
    """A span's name without what all names share."""
    return name.removeprefix("corkboard.").replace(" corkboard.", " ")


def _bar(span: SpanRow, start_ns: int, total_ns: int, colour: str) -> Text:
    before = min(BAR_WIDTH - 1, int(BAR_WIDTH * (span.start_ns - start_ns) / total_ns))
    length = max(1, round(BAR_WIDTH * (span.end_ns - span.start_ns) / total_ns))
    return Text(" " * before + "━" * min(length, BAR_WIDTH - before or 1), style=colour)


def in_tree_order(spans: Sequence[SpanRow]) -> Iterator[tuple[int, SpanRow]]:
    """Depth first; a span whose parent was not exported stands as a root."""
    children: dict[str, list[SpanRow]] = {}
    ids = {span.span_id for span in spans}
    for span in spans:
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    stack = [(0, span) for span in reversed(children.get("", []))]
    while stack:
        depth, span = stack.pop()
        yield depth, span
        stack += [(depth + 1, child) for child in reversed(children.get(span.span_id, []))]
