"""Which closed buckets a user's sequence has, which may go, and how full ones are cut."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import pyarrow as pa

from services.indexer.domain.event_order import ID, TIME, in_order

SEAL_AT = 256  # rows of the head: enough for columns to compress, few enough to read row by row
PARTS = 8  # of a long sequence: opening a bucket costs as much as 1,500 of its rows, and one goes whole when trimmed
NUM_RECENT = 2  # newest buckets that stay small: most reads want a few hundred events
SLACK = 2 * SEAL_AT  # held beyond the limit before overlapping buckets are merged


@dataclass(frozen=True)
class Bucket:
    """A closed bucket: its number, how many events, and their event times."""

    number: int
    num_events: int
    oldest_ms: int
    newest_ms: int


@dataclass(frozen=True, order=True)
class Floor:
    """No event at or below this (event time, event id) is taken any more: it was trimmed, or would be."""

    event_time_ms: int
    event_id: bytes


def to_index(buckets: Sequence[Bucket]) -> bytes:
    """The buckets as JSON, which the store's scripts read as well."""
    return json.dumps([astuple(bucket) for bucket in buckets], separators=(",", ":")).encode()


def from_index(index: bytes | None) -> list[Bucket]:
    """The buckets of `to_index`."""
    return [Bucket(*entry) for entry in json.loads(index or b"[]")]


def in_time(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Oldest first: what is read in this order needs no sorting, unless events came in disorder."""
    return sorted(buckets, key=lambda bucket: (bucket.oldest_ms, bucket.newest_ms))


def droppable(buckets: Sequence[Bucket], max_events: int, oldest_ms: int) -> list[Bucket]:
    """Whole buckets of which no event is in the window and among the newest `max_events`."""

    def is_old(bucket: Bucket) -> bool:
        newer = sum(other.num_events for other in buckets if other.oldest_ms > bucket.newest_ms)
        return newer >= max_events or bucket.newest_ms < oldest_ms

    return [bucket for bucket in buckets if is_old(bucket)]


def floor_of(dropped: Sequence[Bucket]) -> Floor | None:
    """Where the sequence begins once these are gone. No id is above 0xFF, so the whole millisecond is below."""
    return Floor(max(bucket.newest_ms for bucket in dropped), b"\xff") if dropped else None


def is_overfull(buckets: Sequence[Bucket], max_events: int) -> bool:
    """Whether disorder keeps more than twice the limit: buckets that overlap in time cannot be dropped whole."""
    return sum(bucket.num_events for bucket in buckets) > 2 * max_events + SLACK


def merged_size(max_events: int) -> int:
    """Events of a bucket that is not merged again: an eighth of the sequence, 256 of a short one."""
    return max(SEAL_AT, max_events // PARTS)


def mergeable(buckets: Sequence[Bucket], max_events: int) -> list[Bucket]:
    """Small buckets that make at least one of full size together; each event is merged once, and the newest later."""
    size = merged_size(max_events)
    settled = in_time([bucket for bucket in buckets if bucket.num_events < size])[:-NUM_RECENT]
    return settled if len(settled) > 1 and sum(bucket.num_events for bucket in settled) >= size else []


def cut(rows: pa.RecordBatch, first_number: int, size: int = SEAL_AT) -> list[tuple[Bucket, pa.RecordBatch]]:
    """Ordered buckets of `size` to twice that, or one smaller one."""
    ordered = in_order(rows)
    num_buckets = max(1, ordered.num_rows // size)
    edges = [ordered.num_rows * place // num_buckets for place in range(num_buckets + 1)]
    parts = [ordered.slice(begin, end - begin) for begin, end in pairwise(edges)]
    return [(_bucket(first_number + place, part), part) for place, part in enumerate(parts)]


def kept_newest(rows: pa.RecordBatch, max_events: int) -> tuple[pa.RecordBatch, pa.RecordBatch, Floor | None]:
    """(rows kept, rows dropped, new floor) of a whole sequence."""
    ordered = in_order(rows)
    num_dropped = max(0, ordered.num_rows - max_events)
    if not num_dropped:
        return ordered, ordered.slice(0, 0), None
    last = num_dropped - 1
    floor = Floor(ordered.column(TIME)[last].as_py(), ordered.column(ID)[last].as_py().encode())
    return ordered.slice(num_dropped), ordered.slice(0, num_dropped), floor


def _bucket(number: int, ordered: pa.RecordBatch) -> Bucket:
    times = ordered.column(TIME)
    return Bucket(number, ordered.num_rows, times[0].as_py(), times[len(times) - 1].as_py())
