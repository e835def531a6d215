"""A scenario's outcome as one HTML file that needs nothing else: verdicts, then pictures with the faults in them."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from jinja2 import Template

from e2e.chaos.history import OK, History, Window, windows
from e2e.chaos.verdict import Outcome

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 150, 60, 18
RUN, CONTROL, BAND = "#c0392b", "#8a8f98", "#f2b8a0"
Series = dict[int, float]

PAGE = Template(
    """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin-top:1.6rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #8884;vertical-align:top}
svg{width:100%;height:auto;fill:currentColor}.good{color:#2f8f5b}.muted{color:#8a8f98}
.bad{color:#c0392b;font-weight:600}
</style></head><body><h1>{{ title }}</h1>
<p class="muted">Seed {{ seed }}. Red: with faults; grey: the control, the same calls without them; bands: when a fault
was at work.</p>
<table><tr><th>invariant</th><th>verdict</th><th>found</th></tr>
{% for one in findings %}<tr><td>{{ one.check }}</td>
<td class="{{ 'good' if one.verdict == 'holds' else 'bad' }}">{{ one.verdict }}</td>
<td>{% for line in (one.violations or one.in_control)[:5] %}{{ line }}<br>{% endfor %}
{% if one.violations|length > 5 %}and {{ one.violations|length - 5 }} more{% endif %}</td></tr>{% endfor %}</table>
<h2>Faults</h2><table><tr><th>from, s</th><th>to, s</th><th>what</th><th>to whom</th></tr>
{% for one in faults %}<tr><td>{{ '%.1f'|format(one.begin_s) }}</td><td>{{ '%.1f'|format(one.end_s) }}</td>
<td>{{ one.action }}</td><td>{{ one.target }}</td></tr>{% endfor %}</table>
{% for name, picture in pictures %}<h2>{{ name }}</h2>{{ picture|safe }}{% endfor %}</body></html>
""",
    autoescape=True,
)
PICTURES: Sequence[tuple[str, Callable[[History], Series]]] = (
    ("Feed latency, p99 of each second, ms", lambda history: _latency(history)),
    ("Goodput: good feeds each second", lambda history: _goodput(history)),
    ("Publish to readable, slowest probe of each second, ms", lambda history: _fresh(history)),
    ("Lag: records not committed yet, all groups", lambda history: _lag(history)),
)


def write_report(outcome: Outcome, path: Path) -> None:
    """One file at `path`."""
    faults = windows(outcome.run)
    pictures = [(name, draw(read(outcome.run), read(outcome.control), faults, name)) for name, read in PICTURES]
    title = f"{outcome.scenario}: {'every invariant holds' if outcome.holds else 'an invariant does not hold'}"
    path.write_text(
        PAGE.render(title=title, seed=outcome.seed, findings=outcome.findings, faults=faults, pictures=pictures)
    )


def draw(run: Series, control: Series, faults: Sequence[Window], title: str) -> str:
    """Two lines over seconds as inline SVG, with a band for each fault."""
    last_s = max([*run, *control, 1])
    top = max([*run.values(), *control.values(), 1.0])
    shapes = [_band(fault, last_s) for fault in faults]
    shapes += [_line(control, last_s, top, CONTROL), _line(run, last_s, top, RUN)]
    floor = HEIGHT - BOTTOM
    shapes.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{floor}" y2="{floor}" stroke="{CONTROL}"/>')
    texts = [
        (0, 12, f"{top:,.0f}"),
        (0, floor, "0"),
        (LEFT, HEIGHT - 2, "0 s"),
        (WIDTH - 45, HEIGHT - 2, f"{last_s} s"),
    ]
    shapes += [f'<text x="{x}" y="{y}" font-size="12">{text}</text>' for x, y, text in texts]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(shapes)}</svg>'


def _band(fault: Window, last_s: float) -> str:
    begin, end = _x(fault.begin_s, last_s), _x(min(fault.end_s, last_s), last_s)
    what = escape(f"{fault.action} {fault.target}")
    return (
        f'<rect x="{begin:.1f}" y="0" width="{max(2.0, end - begin):.1f}" height="{HEIGHT - BOTTOM}" fill="{BAND}" '
        f'opacity="0.5"><title>{what}</title></rect>'
    )


def _line(series: Series, last_s: float, top: float, colour: str) -> str:
    points = " ".join(
        f"{_x(second, last_s):.1f},{(HEIGHT - BOTTOM) * (1 - value / top):.1f}"
        for second, value in sorted(series.items())
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _x(second: float, last_s: float) -> float:
    return LEFT + (WIDTH - LEFT) * min(1.0, second / last_s)


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
