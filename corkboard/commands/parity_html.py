"""A parity run as one HTML file that needs nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from corkboard.commands.parity_charts import Bar, bars, columns
from sequences.parity.gates import Gate
from sequences.parity.run import ParityRun

STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #8884}
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto;fill:currentColor}
.passed{color:#2f8f5b}.failed,.not-measured{color:#c0392b;font-weight:600}.not-applicable{color:#8a8f98}
.muted{color:#8a8f98}
"""


def as_html(run: ParityRun) -> str:
    """Verdict first, then gates, then pictures."""
    settings, findings = run.settings, run.findings
    closed = run.closed_gates
    verdict = "every gate is open" if not closed else f"{len(closed)} of {len(findings.gates)} gates are closed"
    title = f"Parity of {', '.join(settings.event_types)}: {verdict}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">{escape(_subtitle(run))}</p>',
        "<h2>Gates</h2>",
        _gates(findings.gates),
        "<h2>Events on both sides, by hour of acceptance (UTC)</h2>",
        _hours(run),
        "<h2>Columns that agree</h2>",
        _fields(run),
        "<h2>Events of one side only</h2>",
        _causes(run),
    ]
    for each in findings.histograms:
        body += [f"<h2>{escape(each.name)}, by user</h2>", columns(each.counts, each.low, each.high, each.name)]
    if run.left_out:
        body += ["<h2>Not part of this cut-over</h2>", f"<p>{escape(', '.join(run.left_out))}</p>"]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def time_text(time_ms: int) -> str:
    """A time for people, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def value_text(gate: Gate) -> str:
    """A measured value, or that there is none."""
    return "—" if gate.value is None else f"{gate.value:.6g}"


def _subtitle(run: ParityRun) -> str:
    settings, findings = run.settings, run.findings
    return (
        f"{run.run_id} · {settings.old_version} against {settings.new_version} ({settings.against}) · accepted from "
        f"{time_text(settings.from_ms)} to {time_text(settings.until_ms)} UTC · {findings.num_accepted:,} events, "
        f"{findings.num_users:,} sampled users · settled for {settings.settle_s:g} s"
    )


def _gates(gates: Sequence[Gate]) -> str:
    rows = [
        f"<tr><td>{escape(gate.name)}</td><td>{escape(gate.why or gate.what)}</td><td class=n>{value_text(gate)}</td>"
        f"<td class=n>{escape(gate.limit)} {gate.threshold:g}</td>"
        f'<td class="{gate.verdict.replace(" ", "-")}">{gate.verdict}</td></tr>'
        for gate in gates
    ]
    return f"<table><tr><th>gate<th>what<th>value<th>limit<th>verdict</tr>{''.join(rows)}</table>"


def _hours(run: ParityRun) -> str:
    limit = _threshold(run, "match_rate")
    rows = [
        Bar(
            time_text(hour.hour_ms)[:16],
            _stretched(hour.rate or 0.0),
            "no events" if hour.rate is None else f"{100 * hour.rate:.3f} %",
            hour.rate is None or hour.rate < limit,
        )
        for hour in run.findings.hours
    ]
    return bars(rows, "match rate by hour", _stretched(limit)) + _AXIS


def _fields(run: ParityRun) -> str:
    limit = next((gate.threshold for gate in run.findings.gates if gate.name.startswith("agreement")), 1.0)
    rows = []
    for each in run.findings.fields:
        text = each.kind if each.ratio is None else f"{100 * each.ratio:.3f} %"
        rows.append(
            Bar(each.column, _stretched(each.ratio or 0.0), text, each.ratio is not None and each.ratio < limit)
        )
    return bars(rows, "field agreement", _stretched(limit)) + _AXIS


_AXIS = '<p class="muted">The axis begins at 90 %; the dashed line is the limit.</p>'


def _stretched(ratio: float) -> float:
    """Where 90 % to 100 % fill the axis: all that matters lies there."""
    return (ratio - 0.9) / 0.1


def _causes(run: ParityRun) -> str:
    causes = run.findings.causes
    if not causes:
        return "<p>None.</p>"
    most = max(each.num_events for each in causes)
    rows = [
        Bar(
            f"not on {each.missing_on}: {each.cause}",
            each.num_events / most,
            f"{each.num_events:,}",
            each.cause == "unknown",
        )
        for each in causes
    ]
    details = "".join(f"<li>{escape(each.cause)}: {escape(each.detail)} ({each.num_events:,})</li>" for each in causes)
    return bars(rows, "causes") + f"<ul>{details}</ul>"


def _threshold(run: ParityRun, name: str) -> float:
    return next((gate.threshold for gate in run.findings.gates if gate.name == name), 1.0)
