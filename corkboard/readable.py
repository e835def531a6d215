"""Waits until what was published can be read: the promise a person cares about."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from chassis.errors import DeadlineExceeded, Unavailable
from corkboard.session import Session
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2

POLL_S = 0.1
USERS_PER_CALL = 200
WITHIN_S = 120.0
ENGAGEMENT = "engagement"


async def wait_for_pins(session: Session, pin_ids: Sequence[str], within_s: float = WITHIN_S) -> None:
    """Return when the indexer knows all of `pin_ids`. Raises: DeadlineExceeded."""

    async def missing() -> int:
        request = indexer_pb2.BatchGetPinsRequest(pin_ids=pin_ids, columns=["pin_id"])
        answer = await session.call("indexer", indexer_pb2_grpc.FeatureServiceStub, "BatchGetPins", request)
        return len(answer.missing)

    await _until_none(missing, "pins", within_s)


async def wait_for_events(session: Session, events: Sequence[ingest_pb2.Event], within_s: float = WITHIN_S) -> None:
    """Return when every user's engagement sequence holds as many events as were sent. Raises: DeadlineExceeded."""
    expected = Counter(event.user_id for event in events if event.event_type in ENGAGEMENT_TYPES)
    waiting = dict(expected)

    async def missing() -> int:
        counts = await counted(session, list(waiting))
        for user, count in counts.items():
            if count >= waiting[user]:
                del waiting[user]
        return len(waiting)

    await _until_none(missing, "users' sequences", within_s)


ENGAGEMENT_TYPES = frozenset({"click", "save", "long_view", "share", "conversion", "rating"})


async def counted(session: Session, users: Sequence[str]) -> Mapping[str, int]:
    """How many events the engagement sequence of each user holds."""
    counts: dict[str, int] = {}
    for at in range(0, len(users), USERS_PER_CALL):
        chunk = users[at : at + USERS_PER_CALL]
        request = indexer_pb2.BatchGetSequencesRequest(
            user_ids=chunk, sequence=ENGAGEMENT, max_events=1, columns=["event_id"]
        )
        answer = await session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "BatchGetSequences", request, 30.0)
        counts |= {user: one.num_total for user, one in zip(chunk, answer.sequences, strict=True)}
    return counts


async def _until_none(missing: Callable[[], Coroutine[Any, Any, int]], what: str, within_s: float) -> None:
    give_up_s = time.monotonic() + within_s
    left = -1
    while time.monotonic() < give_up_s:
        try:
            left = await missing()
        except (Unavailable, DeadlineExceeded):
            left = -1  # the indexer may be restarting: ask again
        if left == 0:
            return
        await asyncio.sleep(POLL_S)
    raise DeadlineExceeded(f"after {within_s:.0f} s {left} {what} are not readable yet; see corkboard logs indexer")
