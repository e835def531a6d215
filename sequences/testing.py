"""Runs definitions on a few events in a test: the same engine, nothing around it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from protos import event_schema
from sequences.definitions.columns import PIN_INPUT
from sequences.definitions.definitions import Definitions
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup, Row
from sequences.engine.plan import plan_for
from sequences.engine.result import EngineResult

EVENT: Mapping[str, Any] = {
    "event_id": "e-1",
    "user_id": "u-1",
    "event_type": "click",
    "event_time_ms": 1_700_000_000_000,
    "received_time_ms": 1_700_000_000_010,
    "pin_id": "p-1",
    "surface": "home",
    "request_id": "",
    "traceparent": "",
    "attributes": b"",
}
PIN: Mapping[str, Any] = {
    "pin_id": "p-1",
    "title": "",
    "description": "",
    "topics": [],
    "locale": "",
    "created_time_ms": 0,
    "image": b"",
    "given_vector": None,
}


class InMemoryLookup:
    """Rows from a dict; `calls` holds the keys of each call; raises `error` while it is set."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = dict(rows)
        self.calls: list[list[str]] = []
        self.error: Exception | None = None

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        self.calls.append(list(keys))
        if self.error is not None:
            raise self.error
        return {key: self.rows[key] for key in keys if key in self.rows}


def events_batch(events: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """An accepted envelope of these events; absent columns take the values of EVENT."""
    return pa.RecordBatch.from_pylist([{**EVENT, **event} for event in events], schema=event_schema.ACCEPTED)


def pins_batch(pins: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """A batch of these pins; absent columns take the values of PIN."""
    return pa.RecordBatch.from_pylist([{**PIN, **pin} for pin in pins], schema=PIN_INPUT)


def run(
    definitions: Definitions,
    events: Sequence[Mapping[str, Any]] | pa.RecordBatch,
    *,
    pins: Mapping[str, Row] | None = None,
) -> EngineResult:
    """Enrich the events; `pins` is what the look-up of pins knows."""
    batch = events if isinstance(events, pa.RecordBatch) else events_batch(events)
    return asyncio.run(_run(definitions, batch, pins or {}))


async def _run(definitions: Definitions, batch: pa.RecordBatch, pins: Mapping[str, Row]) -> EngineResult:
    engine = Engine(plan_for(definitions), CachedLookup(InMemoryLookup(pins)))
    try:
        return await engine.run(batch)
    finally:
        engine.close()
