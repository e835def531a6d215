"""A scenario's outcome as one HTML file that needs nothing else: verdicts, then pictures with the faults in them."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from jinja2 import Template

from e2e.chaos.checks import CHECKS
from e2e.chaos.history import INFO, OK, History, Window, windows
from e2e.chaos.measures import DEADLINE_MS, SLACK_MS
from e2e.chaos.verdict import Outcome

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 170, 60, 26, 18
RUN, CONTROL, BAND, LIMIT = "#c0392b", "#8a8f98", "#f2b8a0", "#2f6fb0"
GAP_S = 3  # seconds without a point are a gap in the line, not a slope
NUM_TICKS = 6
ALLOWED_MS = DEADLINE_MS + SLACK_MS
CHAR_PX = 6.5  # of the labels over the bands
Series = dict[int, float]

PAGE = Template(
    """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:1.4rem 0 .2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #8884;vertical-align:top}
td:first-child{white-space:nowrap}svg{width:100%;height:auto;fill:currentColor}.good{color:#2f8f5b}
.muted{color:#8a8f98}.bad{color:#c0392b;font-weight:600}
</style></head><body><h1>{{ title }}</h1>
<p class="muted">Seed {{ seed }}. Red: with faults; grey: the control, the same calls without them; bands: when a fault
was at work.</p>
<table><tr><th></th><th>feeds good</th><th>failed</th><th>with a part missing</th><th>p50 / p99, ms</th>
<th>events acknowledged</th><th>unknown</th></tr>{% for row in numbers %}<tr>{% for cell in row %}<td>{{ cell }}</td>
{% endfor %}</tr>{% endfor %}</table>
<h2>Invariants</h2>
<table><tr><th>invariant</th><th>verdict</th><th>what it says, and what was found against it</th></tr>
{% for one, meaning in findings %}<tr><td>{{ one.check }}</td>
<td class="{{ 'good' if one.verdict == 'holds' else 'bad' }}">{{ one.verdict }}</td>
<td><span class="muted">{{ meaning }}</span>{% for line in (one.violations or one.in_control)[:5] %}<br>{{ line }}
{% endfor %}{% if one.violations|length > 5 %}<br>and {{ one.violations|length - 5 }} more{% endif %}</td></tr>
{% endfor %}</table>
{% for name, picture in pictures %}<h2>{{ name }}</h2>{{ picture|safe }}{% endfor %}
<h2>Faults</h2><table><tr><th>from, s</th><th>to, s</th><th>what</th><th>to whom</th></tr>
{% for one in faults %}<tr><td>{{ '%.1f'|format(one.begin_s) }}</td><td>{{ '%.1f'|format(one.end_s) }}</td>
<td>{{ one.action }}</td><td>{{ one.target }}</td></tr>{% endfor %}</table></body></html>
""",
    autoescape=True,
)
PICTURES: Sequence[tuple[str, Callable[[History], Series], float]] = (
    ("Feed latency, p99 of each second, ms; blue: what is allowed", lambda history: _latency(history), ALLOWED_MS),
    ("Goodput: good feeds each second", lambda history: _goodput(history), 0.0),
    ("Feeds that name a missing part, each second", lambda history: _degraded(history), 0.0),
    ("Publish to readable, slowest probe of each second, ms", lambda history: _fresh(history), 0.0),
    ("Lag: records not committed yet, all groups", lambda history: _lag(history), 0.0),
)


def write_report(outcome: Outcome, path: Path) -> None:
    """One file at `path`."""
    faults = windows(outcome.run)
    last_s = int(max([one.t for one in (*outcome.run.of("feed"), *outcome.run.of("publish"))], default=1.0)) + 1
    pictures = [
        (name, draw(read(outcome.run), read(outcome.control), faults, name, last_s, limit))
        for name, read, limit in PICTURES
    ]
    title = f"{outcome.scenario}: {'every invariant holds' if outcome.holds else 'an invariant does not hold'}"
    findings = [(one, (CHECKS[one.check].__doc__ or "").strip()) for one in outcome.findings]
    numbers = [("with faults", *_numbers(outcome.run)), ("control", *_numbers(outcome.control))]
    path.write_text(
        PAGE.render(
            title=title, seed=outcome.seed, findings=findings, faults=faults, pictures=pictures, numbers=numbers
        )
    )


def draw(
    run: Series, control: Series, faults: Sequence[Window], title: str, last_s: int = 1, limit: float = 0.0
) -> str:
    """Two lines over seconds as inline SVG, with a labelled band for each fault; `limit` is a line of its own."""
    top = max([*run.values(), *control.values(), limit, 1.0])
    floor = HEIGHT - BOTTOM
    shapes = [shape for place, fault in enumerate(faults) for shape in _band(fault, last_s, place)]
    if limit:
        y = _y(limit, top)
        shapes.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LIMIT}" stroke-dasharray="4"/>'
        )
    shapes += [_line(control, last_s, top, CONTROL), _line(run, last_s, top, RUN)]
    shapes.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{floor}" y2="{floor}" stroke="{CONTROL}"/>')
    texts = [(0.0, TOP + 10, f"{top:,.0f}"), (0.0, floor, "0")]
    texts += [(_x(second, last_s) - 10, HEIGHT - 3, f"{second} s") for second in _ticks(last_s)]
    shapes += [f'<text x="{x:.0f}" y="{y}" font-size="12">{text}</text>' for x, y, text in texts]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(shapes)}</svg>'


def _band(fault: Window, last_s: float, place: int) -> Sequence[str]:
    """Bands that touch are told apart by their shade, labels that would by their height."""
    begin, end = _x(fault.begin_s, last_s), _x(min(fault.end_s, last_s), last_s)
    what = escape(f"{fault.action} {fault.target}")
    box = (
        f'<rect x="{begin:.1f}" y="{TOP}" width="{max(2.0, end - begin):.1f}" height="{HEIGHT - BOTTOM - TOP}" '
        f'fill="{BAND}" opacity="{0.6 if place % 2 else 0.35}"><title>{what}</title></rect>'
    )
    at = min(begin, WIDTH - CHAR_PX * len(what))
    return box, f'<text x="{at:.1f}" y="{10 if place % 2 else 22}" font-size="11">{what}</text>'


def _line(series: Series, last_s: float, top: float, colour: str) -> str:
    """One stroke for each stretch without a gap."""
    strokes: list[list[str]] = []
    before = -GAP_S * 2
    for second, value in sorted(series.items()):
        if second - before > GAP_S:
            strokes.append([])
        strokes[-1].append(f"{_x(second, last_s):.1f},{_y(value, top):.1f}")
        before = second
    return "".join(
        f'<polyline points="{" ".join(stroke * 2 if len(stroke) == 1 else stroke)}" fill="none" stroke="{colour}" '
        'stroke-width="1.5" stroke-linecap="round"/>'
        for stroke in strokes
    )


def _ticks(last_s: int) -> Sequence[int]:
    """Round seconds."""
    step = next((one for one in (1, 5, 10, 30, 60, 300, 600) if last_s / one <= NUM_TICKS), 1_800)
    return range(0, last_s, step)


def _x(second: float, last_s: float) -> float:
    return LEFT + (WIDTH - LEFT) * min(1.0, second / last_s)


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / top)


def _numbers(history: History) -> Sequence[str]:
    feeds, events = list(history.of("feed")), list(history.of("publish"))
    good = [one for one in feeds if one.outcome == OK]
    took_ms = [float(one.value["latency_ms"]) for one in good] or [0.0]
    num_acknowledged = sum(one.outcome == OK for one in events)
    return (
        f"{len(good):,}",
        f"{len(feeds) - len(good):,}",
        f"{sum(bool(one.value.get('degraded')) for one in good):,}",
        f"{np.quantile(took_ms, 0.5):,.0f} / {np.quantile(took_ms, 0.99):,.0f}",
        f"{num_acknowledged:,}",
        f"{sum(one.outcome == INFO for one in events):,}",
    )


def _degraded(history: History) -> Series:
    last_s = int(max((one.t for one in history.of("feed")), default=0))
    found = dict.fromkeys(range(last_s + 1), 0.0)
    for one in history.of("feed"):
        found[int(one.t)] += bool(one.value.get("degraded"))
    return found


def _latency(history: History) -> Series:
    return {second: float(np.quantile(values, 0.99)) for second, values in _by_second(history, "feed").items()}


def _goodput(history: History) -> Series:
    last_s = int(max((one.t for one in history.of("feed")), default=0))
    good = _by_second(history, "feed")
    return {second: float(len(good.get(second, ()))) for second in range(last_s + 1)}


def _fresh(history: History) -> Series:
    return {second: max(values) for second, values in _by_second(history, "fresh").items()}


def _lag(history: History) -> Series:
    lags: Series = {}
    for one in history.of("sample"):
        if one.key == "lag_records":
            lags[int(one.t)] = lags.get(int(one.t), 0.0) + one.value
    return lags


def _by_second(history: History, op: str) -> dict[int, list[float]]:
    """Latencies in ms of what went well."""
    found: dict[int, list[float]] = {}
    for one in history.of(op):
        if one.outcome == OK:
            value = one.value["latency_ms"] if op == "feed" else one.value
            found.setdefault(int(one.t), []).append(float(value))
    return found
