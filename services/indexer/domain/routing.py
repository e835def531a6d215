"""Which events go to which sequence, seen or blocked list, as the definitions say."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.columns import enriched_schema, sequence_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.event_type import DAY_MS
from sequences.definitions.sequence import Filter, Sequence
from services.indexer.domain.event_order import conform
from services.indexer.domain.identity import dedupe_keys, id_digests, payload_digests
from services.indexer.domain.writes import EnvelopeWrites, PinTimes, SequenceRows

BLOCKING_TYPES = ("hide",)
CORE = ("event_id", "event_type", "event_time_ms", "pin_id")
"""Columns that are stored whatever the definition asks for: order, dedupe and digests need them."""

_COMPARISONS: Mapping[str, Callable[[pa.Array, Any], pa.Array]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


class Routing:
    """Compiled once per definitions version."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._enriched = enriched_schema(definitions)
        self._acted_types = sorted({name for each in definitions.sequences.values() for name in each.event_types})
        self.stored_schemas = {name: self._stored(each) for name, each in definitions.sequences.items()}

    def route(self, envelope: pa.RecordBatch, now_ms: int) -> EnvelopeWrites:
        """What the events of an enriched envelope change. Columns it lacks are null."""
        events = conform(envelope, self._enriched)
        payloads = payload_digests(events)
        routed = (self._rows(events, payloads, each, now_ms) for each in self.definitions.sequences.values())
        types = events.column("event_type")
        is_acted, is_blocking = pc.is_in(types, pa.array(self._acted_types)), pc.is_in(types, pa.array(BLOCKING_TYPES))
        return EnvelopeWrites(
            sequences=tuple(rows for rows in routed if rows.user_ids),
            acted=_pin_times(events.filter(is_acted)),
            blocked=_pin_times(events.filter(is_blocking)),
            viewed_by_surface=self._viewed(events.filter(pc.invert(is_acted))),
        )

    def _rows(self, events: pa.RecordBatch, payloads: list[bytes], sequence: Sequence, now_ms: int) -> SequenceRows:
        mask = pc.is_in(events.column("event_type"), pa.array(sequence.event_types))
        for condition in sequence.filters:
            mask = pc.and_(mask, _holds(events, condition))
        chosen = events.filter(mask)
        kept = pc.indices_nonzero(mask).to_pylist()
        return SequenceRows(
            sequence=sequence.name,
            max_events=sequence.max_events,
            oldest_ms=oldest_ms(sequence, now_ms),
            rows=chosen.select(self.stored_schemas[sequence.name].names),
            user_ids=chosen.column("user_id").to_pylist(),
            event_ids=chosen.column("event_id").to_pylist(),
            event_times_ms=chosen.column("event_time_ms").to_pylist(),
            id_digests=id_digests(dedupe_keys(chosen, sequence.dedupe_key)),
            dedupe_key=sequence.dedupe_key,
            payload_digests=[payloads[row] for row in kept],
            received_times_ms=chosen.column("received_time_ms").to_pylist(),
        )

    def _viewed(self, events: pa.RecordBatch) -> dict[str, PinTimes]:
        surfaces = events.column("surface")
        found = {name: _pin_times(events.filter(pc.equal(surfaces, name))) for name in self.definitions.surfaces}
        return {name: times for name, times in found.items() if times}

    def _stored(self, sequence: Sequence) -> pa.Schema:
        schema = sequence_schema(self.definitions, sequence.name)
        needed = [name for name in (*CORE, sequence.dedupe_key) if name not in schema.names]
        return pa.schema([*schema, *(self._enriched.field(name) for name in dict.fromkeys(needed))])


def oldest_ms(sequence: Sequence, now_ms: int) -> int:
    """Where the window of a sequence begins."""
    return max(0, now_ms - sequence.window_days * DAY_MS)


def _holds(events: pa.RecordBatch, condition: Filter) -> pa.Array:
    column = events.column(condition.column)
    if condition.operator == "in":
        values = condition.value if isinstance(condition.value, list) else [condition.value]
        return pc.and_(pc.is_valid(column), pc.is_in(column, pa.array(values).cast(column.type)))
    return pc.fill_null(_COMPARISONS[condition.operator](column, condition.value), False)


def _pin_times(events: pa.RecordBatch) -> dict[str, dict[str, int]]:
    times: dict[str, dict[str, int]] = {}
    names = ("user_id", "pin_id", "event_time_ms")
    for user_id, pin_id, time_ms in zip(*(events.column(name).to_pylist() for name in names), strict=True):
        if pin_id:
            pins = times.setdefault(user_id, {})
            pins[pin_id] = max(time_ms, pins.get(pin_id, 0))
    return times
