"""Served feeds from record values."""

import json

import pyarrow as pa
from google.protobuf.message import DecodeError

from chassis.errors import Corrupt
from chassis.kafka.record import Record
from protos.blender.v1 import blender_pb2 as pb
from services.indexer.domain.lake_rows import FEED_COLUMNS
from services.indexer.domain.users import PinServing
from services.indexer.inbound.envelopes import where
from services.indexer.inbound.times import check_time

_FROM_FEED = (
    "request_id",
    "user_id",
    "surface",
    "served_time_ms",
    "page",
    "sequence_version",
    "trace_id",
    "subject_pin_id",
    "query",
    "locale",
)
_FROM_CANDIDATE = (
    "pin_id",
    "position",
    "generator",
    "retrieval_score",
    "score",
    "diversity_bonus",
    "spacing_penalty",
    "rank_by_score",
)


def feed_of(record: Record) -> pb.ServedFeed:
    """Raises: Corrupt."""
    try:
        feed = pb.ServedFeed.FromString(record.value or b"")
    except DecodeError as error:
        raise Corrupt(f"record at {where(record)} is no ServedFeed: {error}") from error
    if not feed.user_id or not feed.request_id:
        raise Corrupt(f"feed at {where(record)} has no user or request", field="user_id", reason="empty")
    check_time(where(record), "served_time_ms", feed.served_time_ms)
    return feed


def serving_of(feed: pb.ServedFeed) -> PinServing:
    """The pins that were shown; how long they count is the surface's definition."""
    pins = tuple(each.pin_id for each in feed.candidates if each.position >= 0 and each.pin_id)
    return PinServing(feed.user_id, feed.surface, pins, feed.served_time_ms, window_s=0, locale=feed.locale)


def rows_of(feed: pb.ServedFeed) -> pa.RecordBatch:
    """One row per served pin. Raises: Corrupt when a number is larger than a column holds."""
    shared = {name: getattr(feed, name) for name in _FROM_FEED}
    shared["versions"] = json.dumps(dict(feed.versions.by_artifact), sort_keys=True)
    rows = [shared | _candidate(each) for each in feed.candidates if each.position >= 0]
    try:
        return pa.RecordBatch.from_pylist(rows, schema=FEED_COLUMNS)
    except (OverflowError, pa.ArrowException) as error:
        raise Corrupt(f"feed {feed.request_id[:100]!r} has no rows: {error}", reason="bad_number") from error


def _candidate(candidate: pb.ServedCandidate) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(candidate, name) for name in _FROM_CANDIDATE}
    row["score_by_head"] = json.dumps(dict(candidate.score_by_head), sort_keys=True)
    return row
