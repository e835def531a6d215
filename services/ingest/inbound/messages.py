"""Messages of ingest's contract to domain words and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from protos.common.v1 import common_pb2
from protos.ingest.v1 import ingest_pb2 as pb
from protos.pins.v1 import pins_pb2
from protos.tensors import tensor_to_numpy
from services.ingest.domain.event import Event, Outcome, Verdict
from services.ingest.domain.pin import Pin

OUTCOMES: dict[Outcome, "pb.Outcome.ValueType"] = {
    Outcome.ACCEPTED: pb.OUTCOME_ACCEPTED,
    Outcome.DUPLICATE: pb.OUTCOME_DUPLICATE,
    Outcome.REJECTED: pb.OUTCOME_REJECTED,
}


def to_event(message: pb.Event) -> Event:
    """As sent."""
    return Event(
        message.event_id,
        message.user_id,
        message.event_type,
        message.event_time_ms,
        message.pin_id,
        message.surface,
        message.request_id,
        message.attributes_json,
    )


def to_pin(message: pins_pb2.Pin) -> Pin:
    """As sent; what ingest fills in itself is left out."""
    return Pin(
        pin_id=message.pin_id,
        title=message.title,
        description=message.description,
        link=message.link,
        image_url=message.image_url,
        image=message.image,
        topics=tuple(message.topics),
        creator_id=message.creator_id,
        advertiser_id=message.advertiser_id,
        price_micros=message.price_micros,
        created_time_ms=message.created_time_ms,
        locale=message.locale,
        quality=dict(message.quality),
        safety_labels=tuple(message.safety_labels),
        is_deleted=message.is_deleted,
        given_vector=_vector(message.given_vector) if message.HasField("given_vector") else None,
    )


def to_verdicts(verdicts: Sequence[Verdict]) -> list[pb.Verdict]:
    """In the same order."""
    return [
        pb.Verdict(id=each.id, outcome=OUTCOMES[each.outcome], code=each.code, field=each.field, message=each.message)
        for each in verdicts
    ]


def _vector(tensor: common_pb2.Tensor) -> NDArray[np.float32]:
    """An unreadable tensor becomes an empty vector, which the rules of pins reject by name."""
    try:
        return tensor_to_numpy(tensor).astype(np.float32)
    except Invalid:
        return np.zeros(0, np.float32)
