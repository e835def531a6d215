"""Sends many events or pins through `ingest`, with bounded concurrency, retries of what is retriable, and a count."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chassis.errors import Overloaded, Unavailable
from corkboard.session import Session
from protos.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from protos.pins.v1 import pins_pb2

EVENTS_PER_CALL = 500
PINS_PER_CALL = 100
IN_FLIGHT = 8
MAX_ATTEMPTS = 30
RETRY_PAUSE_S = 0.5
CALL_TIMEOUT_S = 20.0

T = TypeVar("T")


@dataclass
class Published:
    """What became of the items; `rejections` holds the first few verdicts in words."""

    by_outcome: Counter[str] = field(default_factory=Counter)
    rejections: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def num_acknowledged(self) -> int:
        """Accepted now or before."""
        return self.by_outcome["accepted"] + self.by_outcome["duplicate"]

    def add(self, verdicts: Iterable[ingest_pb2.Verdict]) -> None:
        for verdict in verdicts:
            outcome = ingest_pb2.Outcome.Name(verdict.outcome).removeprefix("OUTCOME_").lower()
            self.by_outcome[outcome] += 1
            if outcome == "rejected" and len(self.rejections) < 5:
                self.rejections.append(f"{verdict.id}: {verdict.code} {verdict.field}: {verdict.message}")


async def publish_events(
    session: Session, events: Sequence[ingest_pb2.Event], advance: Callable[[int], None] = lambda _: None
) -> Published:
    """Publish events, keeping each user's order: one user's events never travel in two calls at once.

    Raises: Unavailable when ingest stays away for all attempts.
    """
    lanes: list[list[ingest_pb2.Event]] = [[] for _ in range(IN_FLIGHT)]
    for event in events:
        lanes[hash(event.user_id) % IN_FLIGHT].append(event)

    async def send(chunk: Sequence[ingest_pb2.Event]) -> Iterable[ingest_pb2.Verdict]:
        request = ingest_pb2.PublishEventsRequest(events=chunk)
        stub = ingest_pb2_grpc.IngestServiceStub
        return (await session.call("ingest", stub, "PublishEvents", request, CALL_TIMEOUT_S)).verdicts  # type: ignore[no-any-return]

    return await _publish(lanes, EVENTS_PER_CALL, send, advance)


async def publish_pins(
    session: Session, pins: Sequence[pins_pb2.Pin], advance: Callable[[int], None] = lambda _: None
) -> Published:
    """Publish pins.

    Raises: Unavailable when ingest stays away for all attempts.
    """
    lanes = [list(pins[lane::IN_FLIGHT]) for lane in range(IN_FLIGHT)]

    async def send(chunk: Sequence[pins_pb2.Pin]) -> Iterable[ingest_pb2.Verdict]:
        request = ingest_pb2.PublishPinsRequest(pins=chunk)
        stub = ingest_pb2_grpc.IngestServiceStub
        return (await session.call("ingest", stub, "PublishPins", request, CALL_TIMEOUT_S)).verdicts  # type: ignore[no-any-return]

    return await _publish(lanes, PINS_PER_CALL, send, advance)


async def _publish(lanes: Sequence[Sequence[T]], size: int, send: Any, advance: Callable[[int], None]) -> Published:
    result = Published()
    start_s = time.monotonic()

    async def run_lane(lane: Sequence[T]) -> None:
        for at in range(0, len(lane), size):
            chunk = lane[at : at + size]
            result.add(await _with_retries(lambda chunk=chunk: send(chunk)))  # type: ignore[misc]
            advance(len(chunk))

    async with asyncio.TaskGroup() as tasks:
        for lane in lanes:
            tasks.create_task(run_lane(lane))
    result.duration_s = time.monotonic() - start_s
    return result


async def _with_retries(call: Callable[[], Any]) -> Any:
    """Publishing is idempotent by id, so a call whose answer was lost may be sent again."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return await call()
        except (Unavailable, Overloaded) as error:
            await asyncio.sleep(error.retry_after_s or RETRY_PAUSE_S)
    return await call()
