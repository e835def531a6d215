"""What one user's full sequence costs in the online store, from stated assumptions about compression.

Closed buckets hold columns of 256 rows, each compressed alone with zstd, so what a value costs is about its entropy
and not its length. The head holds up to 256 rows as they are. Tests hold the sums against columns that were really
compressed and against the memory that Valkey says it uses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from sequences.definitions.columns import sequence_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.enrichment import Enrichment
from sequences.definitions.sequence import Sequence

HEAD_ROWS = 256
DEDUPE_BYTES = 25  # 19 bytes of digests and their share of a hash, as Valkey's MEMORY USAGE tells of 2,000 events
HEAD_ROW_PREFIX_BYTES = 10

BYTES_BY_TYPE: Mapping[pa.DataType, float] = {
    pa.bool_(): 0.2,
    pa.int32(): 1.0,  # bands, hours, counts: few distinct values
    pa.int64(): 4.0,
    pa.float32(): 3.5,
    pa.float64(): 7.0,
    pa.string(): 9.0,
    pa.binary(): 64.0,
    pa.list_(pa.string()): 6.0,
    pa.list_(pa.int32()): 6.0,
    pa.list_(pa.float32()): 240.0,  # vectors of 64 do not compress
}
BYTES_BY_COLUMN: Mapping[str, float] = {
    "event_id": 19.0,  # 32 hexadecimal digits are 16 random bytes
    "event_type": 0.6,
    "event_time_ms": 4.0,
    "surface": 0.4,
    "request_id": 19.0,
    "traceparent": 28.0,  # 24 random bytes
    "pin_id": 6.0,
    "pin_advertiser_id": 4.0,
}
PLAIN_BYTES_BY_TYPE: Mapping[pa.DataType, float] = {
    pa.bool_(): 1,
    pa.int32(): 4,
    pa.float32(): 4,
    pa.int64(): 8,
    pa.float64(): 8,
    pa.string(): 24,
    pa.binary(): 128,
    pa.list_(pa.string()): 28,
    pa.list_(pa.int32()): 24,
    pa.list_(pa.float32()): 260,
}


@dataclass(frozen=True)
class SequenceCost:
    """Bytes of one user who has `max_events` of the sequence; `bytes_by_column` is per event, compressed."""

    sequence: str
    max_events: int
    bytes_by_column: Mapping[str, float]
    bytes_per_user: int

    @property
    def bytes_per_event(self) -> float:
        """Compressed columns of one event, without dedupe and head."""
        return sum(self.bytes_by_column.values())


def storage_costs(definitions: Definitions) -> list[SequenceCost]:
    """One per sequence, by name."""
    return [storage_cost(definitions, each) for _, each in sorted(definitions.sequences.items())]


def storage_cost(definitions: Definitions, sequence: Sequence) -> SequenceCost:
    """A column that only some of the sequence's event types fill costs that share; types are taken as equally many."""
    schema = sequence_schema(definitions, sequence.name)
    shares = {field.name: fill_share(definitions, sequence, field.name) for field in schema}
    by_column = {field.name: round(_compressed(field) * shares[field.name] + 0.1, 2) for field in schema}
    closed = sum(by_column.values()) * sequence.max_events
    head = min(HEAD_ROWS, sequence.max_events) * (HEAD_ROW_PREFIX_BYTES + _plain(schema, shares))
    total = closed + head + DEDUPE_BYTES * sequence.max_events
    return SequenceCost(sequence.name, sequence.max_events, by_column, round(total))


def fill_share(definitions: Definitions, sequence: Sequence, column: str) -> float:
    """The share of the sequence's event types that can have a value in this column, [0, 1]."""
    filled = [name for name in sequence.event_types if can_fill(definitions, name, column)]
    return len(filled) / len(sequence.event_types)


def can_fill(definitions: Definitions, event_type: str, column: str) -> bool:
    """Whether events of this type can have a value: the envelope has it, or an enrichment for the type writes it."""
    writers = [each for each in _event_enrichments(definitions) if column in {one.name for one in each.writes}]
    if not writers:
        return True
    applying = [each for each in writers if not each.event_types or event_type in each.event_types]
    if all(each.executor != "validate_schema" for each in applying):
        return bool(applying)
    known = definitions.events.get(event_type)
    return known is not None and column in {attribute.name for attribute in known.attributes}


def _event_enrichments(definitions: Definitions) -> Iterable[Enrichment]:
    return (each for each in definitions.enrichments.values() if each.subject == "event")


def _compressed(field: pa.Field) -> float:
    return BYTES_BY_COLUMN.get(field.name, BYTES_BY_TYPE[field.type])


def _plain(schema: pa.Schema, shares: Mapping[str, float]) -> float:
    return sum(PLAIN_BYTES_BY_TYPE[field.type] * (shares[field.name] or 0.1) for field in schema)
