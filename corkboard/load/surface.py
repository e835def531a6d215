"""What a surface sends under load: feeds of the world's people, and events of users that exist only for this load."""

import json
import math
import time
from collections.abc import Callable, Mapping

from chassis import tracing
from chassis.errors import Invalid
from corkboard.load.driver import Answer, Send
from corkboard.load.plan import Call
from corkboard.session import Session
from protos.blender.v1 import blender_pb2, blender_pb2_grpc
from protos.ingest.v1 import ingest_pb2, ingest_pb2_grpc

EVENT_TYPES = ("click", "save", "share", "click")
EVENTS_PER_CALL = 5
FEED_TIMEOUT_S = 2.0
EVENTS_TIMEOUT_S = 10.0
PAGE_SIZE = 10
NUM_PINS = 500


def senders(session: Session, run: str) -> Send:
    """Sends one call of either kind; `run` names the users of the events and makes their ids unique."""
    by_kind: Mapping[str, Send] = {
        "feed": lambda call: send_feed(session, call),
        "events": lambda call: send_events(session, events_of(run, call)),
    }
    return lambda call: by_kind[call.kind](call)


async def send_feed(session: Session, call: Call) -> Answer:
    """One first page. Raises: the chassis error of a failed call."""
    request = blender_pb2.GetFeedRequest(user_id=f"person-{call.user:05d}", surface="home", page_size=PAGE_SIZE)
    stub = blender_pb2_grpc.FeedServiceStub
    feed = await session.call("blender", stub, "GetFeed", request, FEED_TIMEOUT_S)
    return Answer(
        tuple(item.component for item in feed.degradations),
        len(feed.items),
        feed.trace_id,
        all(math.isfinite(item.score) for item in feed.items),
        dict(feed.versions.by_artifact),
    )


async def send_events(session: Session, events: list[ingest_pb2.Event]) -> Answer:
    """One publication; counts what was acknowledged. Raises: the chassis error; Invalid for a rejected event."""
    request = ingest_pb2.PublishEventsRequest(events=events)
    with tracing.span("publish events", kind="client"):
        trace = trace_id(tracing.inject_headers())
        stub = ingest_pb2_grpc.IngestServiceStub
        answer = await session.call("ingest", stub, "PublishEvents", request, EVENTS_TIMEOUT_S)
    refused = [one for one in answer.verdicts if one.outcome == ingest_pb2.OUTCOME_REJECTED]
    if refused:
        raise Invalid(f"{refused[0].id}: {refused[0].code} {refused[0].message}")
    return Answer(num_items=len(answer.verdicts), trace=trace)


def events_of(
    run: str, call: Call, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> list[ingest_pb2.Event]:
    """The events of one call: all of one user, at one millisecond each."""
    at_ms = now_ms()
    return [
        ingest_pb2.Event(
            event_id=f"{run}-{call.number:06d}-{place}",
            user_id=f"{run}-user-{call.user:04d}",
            event_type=EVENT_TYPES[(call.number + place) % len(EVENT_TYPES)],
            event_time_ms=at_ms + place,
            pin_id=f"pin-{(call.number * 7 + place) % NUM_PINS:06d}",
            surface="home",
            attributes_json=json.dumps({}).encode(),
        )
        for place in range(EVENTS_PER_CALL)
    ]


def trace_id(headers: Mapping[str, str]) -> str:
    """The trace id in a W3C `traceparent`; empty without one."""
    parts = headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else ""
