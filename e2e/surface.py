"""What tests do as a surface: ask for feeds, publish events, read sequences."""

import time
import uuid
from collections.abc import Sequence

from corkboard.session import Session
from protos.blender.v1 import blender_pb2, blender_pb2_grpc
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from protos.tables import table_to_batch

Row = tuple[int, str, str]


def feed_request(user: str = "person-00010", **fields: object) -> blender_pb2.GetFeedRequest:
    return blender_pb2.GetFeedRequest(**({"user_id": user, "surface": "home", "page_size": 10} | fields))  # type: ignore[arg-type]


async def get_feed(
    session: Session, request: blender_pb2.GetFeedRequest, timeout_s: float = 5.0
) -> blender_pb2.GetFeedResponse:
    response: blender_pb2.GetFeedResponse = await session.call(
        "blender", blender_pb2_grpc.FeedServiceStub, "GetFeed", request, timeout_s
    )
    return response


def event(user: str, event_type: str, pin_id: str, **fields: object) -> ingest_pb2.Event:
    base = {
        "event_id": uuid.uuid4().hex,
        "user_id": user,
        "event_type": event_type,
        "pin_id": pin_id,
        "surface": "home",
        "event_time_ms": time.time_ns() // 1_000_000,
    }
    return ingest_pb2.Event(**(base | fields))  # type: ignore[arg-type]


async def publish(
    session: Session, events: Sequence[ingest_pb2.Event], timeout_s: float = 10.0, tenant: str = ""
) -> list[ingest_pb2.Verdict]:
    request = ingest_pb2.PublishEventsRequest(events=events, tenant=tenant)
    answer = await session.call("ingest", ingest_pb2_grpc.IngestServiceStub, "PublishEvents", request, timeout_s)
    return list(answer.verdicts)


async def sequence(session: Session, user: str, name: str = "engagement", max_events: int = 0) -> list[Row]:
    """(event_time_ms, event_id, pin_id), in the order that the platform gives."""
    request = indexer_pb2.GetSequenceRequest(
        user_id=user, sequence=name, max_events=max_events, columns=["event_time_ms", "event_id", "pin_id"]
    )
    answer = await session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "GetSequence", request)
    return [(row["event_time_ms"], row["event_id"], row["pin_id"]) for row in table_to_batch(answer.events).to_pylist()]
