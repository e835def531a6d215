"""Replays MovieLens through the platform and proves by count and digest that nothing was lost or doubled."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from chassis.clock import SYSTEM_CLOCK
from corkboard.commands.output import Output
from corkboard.movielens.reader import MovieLens, pin_id
from corkboard.publishing import publish_events, publish_pins
from corkboard.readable import ENGAGEMENT, USERS_PER_CALL, wait_for_events, wait_for_pins
from corkboard.session import Session
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch

COLUMNS = ("event_time_ms", "event_id", "event_type", "pin_id")
Row = tuple[int, str, str, str]


async def replay(session: Session, data: MovieLens, output: Output, *, hold_out_last: bool) -> dict[str, Any]:
    """Publish pins, then events in time order; compare what is readable with what was sent."""
    held_out = {rating.event_id for rating in data.held_out().values()} if hold_out_last else set()
    events = [event for event in data.events(SYSTEM_CLOCK.now_ms()) if event.event_id not in held_out]
    with output.progress("films", len(data.pins)) as advance:
        await publish_pins(session, data.pins, advance)
    await wait_for_pins(session, [pin.pin_id for pin in data.pins])
    start_s = time.monotonic()
    with output.progress("ratings", len(events)) as advance:
        published = await publish_events(session, events, advance)
    await wait_for_events(session, events)
    duration_s = time.monotonic() - start_s
    output.say("comparing what is readable with what was sent")
    sent, stored = await _compare(session, events)
    return {
        "events_sent": len(events),
        "held_out": len(held_out),
        "acknowledged": published.num_acknowledged,
        "by_outcome": dict(published.by_outcome),
        "rejections": published.rejections,
        "readable": stored[0],
        "digest_sent": sent[1],
        "digest_readable": stored[1],
        "is_complete": sent == stored,
        "duration_s": round(duration_s, 1),
        "events_per_s_end_to_end": round(len(events) / duration_s),
        "users": len({event.user_id for event in events}),
        "pins": len({pin_id(r.item) for r in data.ratings}),
    }


async def _compare(session: Session, events: Sequence[ingest_pb2.Event]) -> tuple[tuple[int, str], tuple[int, str]]:
    """(count, digest) of what was sent, and of what the sequences hold. Times are compared relative to each user's
    first event, so that importing again on another day compares equal."""
    sent: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        sent[event.user_id].append((event.event_time_ms, event.event_id, event.event_type, event.pin_id))
    stored: dict[str, list[Row]] = {}
    users = sorted(sent)
    for at in range(0, len(users), USERS_PER_CALL // 4):
        stored |= await _stored(session, users[at : at + USERS_PER_CALL // 4])
    return _digest({user: sorted(rows) for user, rows in sent.items()}), _digest(stored)


async def _stored(session: Session, users: Sequence[str]) -> dict[str, list[Row]]:
    request = indexer_pb2.BatchGetSequencesRequest(user_ids=users, sequence=ENGAGEMENT, columns=list(COLUMNS))
    answer = await session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "BatchGetSequences", request, 30.0)
    return {user: _rows(one) for user, one in zip(users, answer.sequences, strict=True)}


def _rows(sequence: indexer_pb2.GetSequenceResponse) -> list[Row]:
    batch = table_to_batch(sequence.events)
    return list(zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True))


def _digest(rows_by_user: dict[str, list[Row]]) -> tuple[int, str]:
    """Count and an order-sensitive digest over all users."""
    digest, count = hashlib.sha256(), 0
    for user in sorted(rows_by_user):
        rows = rows_by_user[user]
        count += len(rows)
        first_ms = rows[0][0] if rows else 0
        digest.update(_line((user,)))
        for time_ms, *rest in rows:
            digest.update(_line((str(time_ms - first_ms), *rest)))
    return count, digest.hexdigest()


def _line(cells: Iterable[str]) -> bytes:
    return "\x1f".join(cells).encode() + b"\n"
