"""All events of one sequence by user, in the sequence's order: from the lake, by the definition that serves it."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chassis.errors import Invalid, NotFound
from sequences.definitions.columns import sequence_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.sequence import Sequence
from services.indexer.app.merged_events import merged_events
from services.indexer.domain.routing import holds
from services.indexer.ports import Lake

READ_WITH = ("user_id", "event_id", "event_type", "event_time_ms", "received_time_ms")
LEFT_OUT = ("traceparent",)  # no model learns from it, and it is another one in each event


class SequenceEvents:
    """Held in memory: of the sequence's event types, in its columns."""

    def __init__(self, sequence: Sequence, schema: pa.Schema, rows: pa.Table, definitions_version: str) -> None:
        self.sequence = sequence
        self.schema = schema
        self.definitions_version = definitions_version
        ordered = rows.sort_by([(name, "ascending") for name in ("user_id", "event_time_ms", "event_id")])
        self._rows = _one_batch(ordered.select(schema.names).cast(schema))
        self._times_ms = ordered.column("event_time_ms").to_numpy()
        self._received_ms = ordered.column("received_time_ms").to_numpy()
        self._bounds = _bounds(ordered.column("user_id"))

    def of(self, user_id: str) -> tuple[pa.RecordBatch, NDArray[np.int64], NDArray[np.int64]]:
        """Events [L] by (time, id), when each happened and when it was received; none of an unknown user."""
        first, end = self._bounds.get(user_id, (0, 0))
        return self._rows.slice(first, end - first), self._times_ms[first:end], self._received_ms[first:end]

    def users(self) -> Iterator[str]:
        """Who has events, sorted."""
        return iter(self._bounds)


def sequence_events(lake: Lake, definitions: Definitions, name: str) -> SequenceEvents:
    """Each event once, corrections applied. Blocks; reads the sequence's event types whole.

    Raises: NotFound for an unknown sequence, Invalid for one that dedupes by another column than the event id,
    Unavailable.
    """
    sequence = _checked(definitions, name)
    full = sequence_schema(definitions, name)
    schema = pa.schema([field.with_nullable(True) for field in full if field.name not in LEFT_OUT])
    filtered_on = [each.column for each in sequence.filters]
    needed = list(dict.fromkeys((*READ_WITH, *schema.names, *filtered_on)))
    rows = merged_events(lake, needed, list(sequence.event_types))
    if not rows.num_columns:
        rows = pa.schema([*schema, *_missing(schema)]).empty_table()
    for batch in _batches(rows) if sequence.filters else ():
        chosen = np.logical_and.reduce([holds(batch, each).to_numpy(zero_copy_only=False) for each in sequence.filters])
        rows = rows.filter(pa.array(chosen))
    return SequenceEvents(sequence, schema, rows, definitions.version)


def _checked(definitions: Definitions, name: str) -> Sequence:
    sequence = definitions.sequences.get(name)
    if sequence is None:
        known = ", ".join(sorted(definitions.sequences))
        raise NotFound(
            f"there is no sequence {name!r}; there are: {known}", field="sequence", reason="unknown_sequence"
        )
    if sequence.dedupe_key != "event_id":
        raise Invalid(f"sequence {name!r} dedupes by {sequence.dedupe_key!r}, not by event_id", field="sequence")
    return sequence


def _missing(schema: pa.Schema) -> list[pa.Field]:
    kinds = {"event_time_ms": pa.int64(), "received_time_ms": pa.int64()}
    return [pa.field(name, kinds.get(name, pa.string())) for name in READ_WITH if name not in schema.names]


def _batches(rows: pa.Table) -> list[pa.RecordBatch]:
    return [_one_batch(rows)] if rows.num_rows else []


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.combine_chunks().to_batches()
    if len(batches) > 1:  # a column has more text than one array holds
        raise Invalid(f"{rows.num_rows} events are too many at once; take fewer event types", field="sequence")
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)


def _bounds(user_ids: pa.ChunkedArray) -> dict[str, tuple[int, int]]:
    runs = pc.run_end_encode(user_ids.combine_chunks())
    ends = runs.run_ends.to_pylist()
    return {user: (first, end) for user, first, end in zip(runs.values.to_pylist(), [0, *ends], ends, strict=False)}
