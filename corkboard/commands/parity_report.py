"""A parity run on the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from corkboard.commands.output import table
from corkboard.commands.parity_html import time_text, value_text
from corkboard.commands.parity_records import Change
from sequences.parity.gates import Gate
from sequences.parity.run import ParityRun

STYLES = {"passed": "green", "failed": "bold red", "not measured": "bold red", "not applicable": "dim"}


def as_tables(run: ParityRun) -> RenderableType:
    """Gates, hours, causes."""
    settings, findings = run.settings, run.findings
    title = (
        f"{run.run_id}: {', '.join(settings.event_types)}, {settings.old_version} against {settings.new_version} "
        f"({settings.against}), {findings.num_accepted:,} events of {findings.num_users:,} sampled users"
    )
    gates = [
        (gate.name, gate.why or gate.what, value_text(gate), f"{gate.limit} {gate.threshold:g}", _verdict(gate))
        for gate in findings.gates
    ]
    hours = [
        (time_text(hour.hour_ms), f"{hour.num_left:,}", f"{hour.num_right:,}", f"{hour.num_common:,}", _rate(hour.rate))
        for hour in findings.hours
    ]
    causes = [(each.missing_on, each.cause, each.detail, f"{each.num_events:,}") for each in findings.causes]
    parts: list[RenderableType] = [
        table(title, ("gate", "what", "value", "limit", "verdict"), gates, ("value", "limit")),
        "",
        table(
            "by hour of acceptance, UTC",
            ("hour", "old", "new", "both", "match"),
            hours,
            ("old", "new", "both", "match"),
        ),
    ]
    if causes:
        parts += ["", table("on one side only", ("not on", "cause", "detail", "events"), causes, ("events",))]
    if run.left_out:
        parts += ["", Text(f"not part of this cut-over: {', '.join(run.left_out)}", "dim")]
    closed = run.closed_gates
    summary = "every gate is open" if not closed else f"{len(closed)} gates are closed"
    return Group(*parts, "", Text(summary, "bold red" if closed else "bold green"))


def history_table(known: list[Change]) -> RenderableType:
    """Promotions and rollbacks."""
    rows = [
        (
            time_text(each.time_ms),
            ", ".join(each.event_types),
            "rollback" if each.is_rollback else "promotion",
            f"{each.replaced} -> {each.version}",
            each.changed_by,
            f"{each.why} ({', '.join(each.closed_gates)})" if each.why else "",
        )
        for each in known
    ]
    return table("changes, UTC", ("time", "event types", "what", "versions", "by", "override"), rows)


def refusal(gates: list[Gate]) -> str:
    """Every closed gate with its value and its limit."""
    lines = [
        f"{gate.name} was not measured: {gate.why}"
        if gate.value is None
        else f"{gate.name} is {value_text(gate)}, the limit is {gate.limit} {gate.threshold:g}"
        for gate in gates
    ]
    return "; ".join(lines)


def _verdict(gate: Gate) -> Text:
    return Text(gate.verdict, STYLES[gate.verdict])


def _rate(rate: float | None) -> str:
    return "no events" if rate is None else f"{100 * rate:.3f} %"
