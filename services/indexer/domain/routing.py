"""Which events go to which sequence, seen or blocked list, as the definitions say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.columns import enriched_schema, sequence_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.event_type import DAY_MS
from sequences.definitions.sequence import Filter, Sequence
from services.indexer.domain.event_order import conform
from services.indexer.domain.identity import PayloadDigests, dedupe_keys, id_digests
from services.indexer.domain.writes import EnvelopeWrites, PinTimes, SequenceRows

BLOCKING_TYPES = frozenset({"hide"})
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


@dataclass(frozen=True)
class _Events:
    """An envelope, and the columns that routing looks at as lists: on small envelopes each call into Arrow costs more
    than all rows do."""

    rows: pa.RecordBatch
    payloads: PayloadDigests
    types: list[str]
    user_ids: list[str]
    event_ids: list[str]
    times_ms: list[int]
    received_ms: list[int]
    pin_ids: list[str]
    surfaces: list[str]


class Routing:
    """Compiled once per definitions version."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._enriched = enriched_schema(definitions)
        self._types_of = {name: frozenset(each.event_types) for name, each in definitions.sequences.items()}
        self._acted_types = frozenset().union(*self._types_of.values())
        self._surfaces = frozenset(definitions.surfaces)
        self.stored_schemas = {name: self._stored(each) for name, each in definitions.sequences.items()}

    def route(self, envelope: pa.RecordBatch, now_ms: int) -> EnvelopeWrites:
        """What the events of an enriched envelope change. Columns it lacks are null."""
        events = _as_lists(conform(envelope, self._enriched))
        routed = (self._rows(events, each, now_ms) for each in self.definitions.sequences.values())
        acted, blocked, viewed = self._pin_times(events)
        return EnvelopeWrites(tuple(rows for rows in routed if rows is not None), acted, blocked, viewed)

    def of_type(self, envelope: pa.RecordBatch, event_type: str, now_ms: int) -> EnvelopeWrites:
        """As `route`, of events of one type, with every sequence that takes the type, if only without rows."""
        writes = self.route(envelope, now_ms)
        found = {each.sequence: each for each in writes.sequences}
        takers = [each for each in self.definitions.sequences.values() if event_type in self._types_of[each.name]]
        sequences = tuple(found.get(each.name) or self._no_rows(each, now_ms) for each in takers)
        return replace(writes, sequences=sequences)

    def _no_rows(self, sequence: Sequence, now_ms: int) -> SequenceRows:
        rows = pa.RecordBatch.from_pylist([], schema=self.stored_schemas[sequence.name])
        nothing: list[Any] = []
        return SequenceRows(
            sequence.name,
            sequence.max_events,
            oldest_ms(sequence, now_ms),
            rows,
            *(nothing,) * 6,
            dedupe_key=sequence.dedupe_key,
        )

    def _rows(self, events: _Events, sequence: Sequence, now_ms: int) -> SequenceRows | None:
        types = self._types_of[sequence.name]
        chosen = [row for row, event_type in enumerate(events.types) if event_type in types]
        for condition in sequence.filters if chosen else ():
            is_kept = holds(events.rows, condition).to_pylist()
            chosen = [row for row in chosen if is_kept[row]]
        if not chosen:
            return None
        rows = events.rows.select(self.stored_schemas[sequence.name].names)
        if len(chosen) < rows.num_rows:
            rows = rows.take(pa.array(chosen))
        event_ids = [events.event_ids[row] for row in chosen]
        is_by_id = sequence.dedupe_key == "event_id"
        return SequenceRows(
            sequence=sequence.name,
            max_events=sequence.max_events,
            oldest_ms=oldest_ms(sequence, now_ms),
            rows=rows,
            user_ids=[events.user_ids[row] for row in chosen],
            event_ids=event_ids,
            event_times_ms=[events.times_ms[row] for row in chosen],
            id_digests=id_digests(event_ids if is_by_id else dedupe_keys(rows, sequence.dedupe_key)),
            dedupe_key=sequence.dedupe_key,
            payload_digests=[events.payloads[row] for row in chosen],
            received_times_ms=[events.received_ms[row] for row in chosen],
        )

    def _pin_times(self, events: _Events) -> tuple[PinTimes, PinTimes, dict[str, PinTimes]]:
        """Pins acted upon, pins blocked, and pins viewed by surface."""
        acted: dict[str, dict[str, int]] = {}
        blocked: dict[str, dict[str, int]] = {}
        viewed: dict[str, dict[str, dict[str, int]]] = {}
        columns = (events.types, events.surfaces, events.user_ids, events.pin_ids, events.times_ms)
        for event_type, surface, user_id, pin_id, time_ms in zip(*columns, strict=True):
            if not pin_id:
                continue
            if event_type in self._acted_types:
                _keep_newest(acted, user_id, pin_id, time_ms)
            elif surface in self._surfaces:
                _keep_newest(viewed.setdefault(surface, {}), user_id, pin_id, time_ms)
            if event_type in BLOCKING_TYPES:
                _keep_newest(blocked, user_id, pin_id, time_ms)
        return acted, blocked, dict(viewed.items())

    def _stored(self, sequence: Sequence) -> pa.Schema:
        schema = sequence_schema(self.definitions, sequence.name)
        needed = [name for name in (*CORE, sequence.dedupe_key) if name not in schema.names]
        return pa.schema([*schema, *(self._enriched.field(name) for name in dict.fromkeys(needed))])


def oldest_ms(sequence: Sequence, now_ms: int) -> int:
    """Where the window of a sequence begins."""
    return max(0, now_ms - sequence.window_days * DAY_MS)


def _as_lists(rows: pa.RecordBatch) -> _Events:
    names = ("event_type", "user_id", "event_id", "event_time_ms", "received_time_ms", "pin_id", "surface")
    return _Events(rows, PayloadDigests(rows), *(rows.column(name).to_pylist() for name in names))


def holds(events: pa.RecordBatch, condition: Filter) -> pa.Array:
    """Which rows fulfil the condition, bool [N]; null never does."""
    column = events.column(condition.column)
    if condition.operator == "in":
        values = condition.value if isinstance(condition.value, list) else [condition.value]
        return pc.and_(pc.is_valid(column), pc.is_in(column, pa.array(values).cast(column.type)))
    return pc.fill_null(_COMPARISONS[condition.operator](column, condition.value), False)


def _keep_newest(times: dict[str, dict[str, int]], user_id: str, pin_id: str, time_ms: int) -> None:
    pins = times.setdefault(user_id, {})
    pins[pin_id] = max(time_ms, pins.get(pin_id, 0))
