"""What `definitions lint` prints: findings, and what sequences and enrichments cost."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from corkboard.commands.output import table
from sequences.definitions.cpu_cost import EnrichmentCost, cpu_s_per_event
from sequences.definitions.definitions import Definitions
from sequences.definitions.lint import Finding
from sequences.definitions.storage_cost import DEDUPE_BYTES, SequenceCost

ASSUMPTIONS = (
    f"Bytes: a full sequence (max_events) of one user; columns compressed alone with zstd in buckets of 256 rows, "
    f"{DEDUPE_BYTES} B per event for dedupe, one head of plain rows; event types equally many. "
    f"CPU: measured here, fastest of several runs, one core, look-ups over the network not included."
)
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def as_data(
    definitions: Definitions, findings: Sequence[Finding], costs: Sequence[SequenceCost], cpu: list[EnrichmentCost]
) -> dict[str, Any]:
    """One JSON document; bytes and seconds."""
    return {
        "version": definitions.version,
        "num_errors": sum(finding.severity == "error" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "sequences": [asdict(cost) | {"bytes_per_event": round(cost.bytes_per_event, 2)} for cost in costs],
        "enrichments": [asdict(cost) for cost in cpu],
        "cpu_s_per_event": {name: cpu_s_per_event(definitions, cpu, name) for name in sorted(definitions.events)},
        "assumptions": ASSUMPTIONS,
    }


def as_tables(
    definitions: Definitions, findings: Sequence[Finding], costs: Sequence[SequenceCost], cpu: list[EnrichmentCost]
) -> RenderableType:
    """Findings first, then costs."""
    return Group(
        table(
            f"{definitions.version}: {len(findings)} findings",
            ("", "where", "code", "what"),
            [(Text(each.severity, STYLES[each.severity]), each.where, each.code, each.message) for each in findings],
        ),
        "",
        table(
            "online store, one user with a full sequence",
            ("sequence", "events", "B/event", "KB/user", "widest columns"),
            [_row(cost) for cost in costs],
            right=("events", "B/event", "KB/user"),
        ),
        "",
        table(
            "CPU",
            ("enrichment", "executor", "µs/row"),
            [(cost.enrichment, cost.executor, f"{cost.cpu_s_per_row * 1e6:.2f}") for cost in cpu],
            right=("µs/row",),
        ),
        "",
        table(
            "CPU by event type",
            ("event type", "µs/event"),
            [(name, f"{cpu_s_per_event(definitions, cpu, name) * 1e6:.2f}") for name in sorted(definitions.events)],
            right=("µs/event",),
        ),
        "",
        Text(ASSUMPTIONS, "dim"),
    )


def _row(cost: SequenceCost) -> tuple[str, ...]:
    widest = sorted(cost.bytes_by_column, key=lambda name: -cost.bytes_by_column[name])[:3]
    return (
        cost.sequence,
        f"{cost.max_events:,}",
        f"{cost.bytes_per_event:.1f}",
        f"{cost.bytes_per_user / 1e3:,.0f}",
        ", ".join(f"{name} {cost.bytes_by_column[name]:.1f}" for name in widest),
    )
