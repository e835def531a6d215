"""Envelopes and definitions for tests."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions

NOW_MS = 1_750_000_000_000
DEFAULTS: dict[str, Any] = {
    "event_type": "save",
    "pin_id": "pin-1",
    "surface": "home",
    "request_id": "",
    "traceparent": "",
    "attributes": b"",
    "definitions_version": "d-1",
    "enriched_time_ms": NOW_MS,
}


def definitions(max_events: int = 2048) -> Definitions:
    """The repository's own, with another limit on sequences."""
    found = repository_definitions()
    sequences = {name: each.model_copy(update={"max_events": max_events}) for name, each in found.sequences.items()}
    return found.model_copy(update={"sequences": sequences})


def event(number: int, user_id: str = "user-1", **values: Any) -> dict[str, Any]:
    """Event `number` of a user, `number` ms after NOW_MS - 1 h."""
    time_ms = NOW_MS - 3_600_000 + number
    given = {"event_id": f"event-{number}", "user_id": user_id, "event_time_ms": time_ms, "received_time_ms": time_ms}
    return DEFAULTS | given | values


def envelope(events: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """An enriched envelope."""
    return pa.RecordBatch.from_pylist(list(events), schema=enriched_schema(repository_definitions()))
