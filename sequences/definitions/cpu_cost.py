"""What one event costs each enrichment, measured here and now with made-up events of the types it applies to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from protos import event_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.event_type import Attribute, EventType
from sequences.engine.engine import run_steps
from sequences.engine.executor import Lookups
from sequences.engine.plan import Plan, plan_for

ROWS = 2_048
TEXT = "a few words as people write them"
REPEATS = 5  # the fastest counts: what is slower was somebody else's work
TIME_MS = 1_750_000_000_000
PIN_ROW: Mapping[str, Any] = {
    "topics": ["ceramics", "garden"],
    "advertiser_id": "advertiser-1",
    "creator_id": "creator-1",
    "price_micros": 12_000_000,
    "created_time_ms": TIME_MS - 86_400_000,
    "content_group": "",
}


@dataclass(frozen=True)
class EnrichmentCost:
    """Seconds of one core for one row that the enrichment applies to; look-ups over the network are not in it."""

    enrichment: str
    executor: str
    cpu_s_per_row: float


def cpu_costs(definitions: Definitions, num_rows: int = ROWS) -> list[EnrichmentCost]:
    """One per enrichment of events that ran on any row, in the order of the plan."""
    plan = plan_for(definitions)
    batch = specimens(definitions, num_rows)
    lookups = _lookups(plan, batch)
    fastest: dict[str, EnrichmentCost] = {}
    for _ in range(REPEATS):
        for run in run_steps(plan, batch, lookups).steps:
            cost = EnrichmentCost(run.enrichment, run.executor, run.duration_s / max(run.num_in, 1))
            known = fastest.get(run.enrichment)
            if run.num_in and (known is None or cost.cpu_s_per_row < known.cpu_s_per_row):
                fastest[run.enrichment] = cost
    return list(fastest.values())


def cpu_s_per_event(definitions: Definitions, costs: list[EnrichmentCost], event_type: str) -> float:
    """Seconds of one core for one event of this type, over every enrichment that applies to it."""
    applying = {
        name for name, each in definitions.enrichments.items() if not each.event_types or event_type in each.event_types
    }
    return sum(cost.cpu_s_per_row for cost in costs if cost.enrichment in applying)


def specimens(definitions: Definitions, num_rows: int) -> pa.RecordBatch:
    """An accepted envelope with the event types in turn, every attribute set within its bounds."""
    types = [definitions.events[name] for name in sorted(definitions.events)]
    rows = [_row(types[number % len(types)], number) for number in range(num_rows)] if types else []
    return pa.RecordBatch.from_pylist(rows, schema=event_schema.ACCEPTED)


def _row(event_type: EventType, number: int) -> dict[str, Any]:
    attributes = {each.name: _value(each) for each in event_type.attributes}
    return {
        "event_id": f"{number:032x}",
        "user_id": f"person-{number % 500:05d}",
        "event_type": event_type.name,
        "event_time_ms": TIME_MS + number,
        "received_time_ms": TIME_MS + number + 10,
        "pin_id": f"pin-{number % 200:06d}" if event_type.needs_pin else "",
        "surface": "home",
        "request_id": f"{number:032x}",
        "traceparent": "",
        "attributes": json.dumps(attributes).encode() if attributes else b"",
    }


def _value(attribute: Attribute) -> Any:
    if attribute.type == "string":
        return TEXT[: attribute.max_length]
    if attribute.type == "bool":
        return True
    value = attribute.maximum if attribute.maximum is not None else max(attribute.minimum or 1.0, 1.0)
    return int(value) if attribute.type == "int64" else float(value)


def _lookups(plan: Plan, batch: pa.RecordBatch) -> dict[str, Lookups]:
    rows = dict.fromkeys(batch.column("pin_id").to_pylist(), PIN_ROW)
    return {
        planned.name: Lookups(plan.event_types, rows if planned.executor.lookup_column else {})
        for planned in plan.steps
    }
