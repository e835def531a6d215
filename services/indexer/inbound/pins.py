"""Enriched pins and user vectors from record values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from chassis.errors import Corrupt, Invalid
from chassis.kafka.record import Record
from protos.common.v1 import common_pb2
from protos.indexer.v1 import indexer_pb2
from protos.pins.v1 import pins_pb2
from protos.tensors import tensor_to_numpy
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.users import UserVector
from services.indexer.inbound.envelopes import where
from services.indexer.inbound.times import check_time
from services.indexer.ports import PinRows

MAX_VERSION_BYTES = 1_000
_FROM_PIN = (
    "pin_id",
    "title",
    "link",
    "image_url",
    "creator_id",
    "advertiser_id",
    "price_micros",
    "created_time_ms",
    "locale",
    "content_group",
)


@dataclass(frozen=True)
class PinChanges:
    """What a run of records leaves: deletes happen before puts."""

    deleted: list[str]
    put: PinRows


def pin_changes(records: Sequence[Record]) -> PinChanges:
    """The last delete of a pin takes back what came before it. Raises: Corrupt."""
    deleted: dict[str, None] = {}
    put: list[pins_pb2.EnrichedPin] = []
    for record in records:
        enriched = _enriched(record)
        pin_id = enriched.pin.pin_id if enriched is not None else (record.key or b"").decode(errors="replace")
        if enriched is None or enriched.pin.is_deleted:
            deleted[pin_id] = None
            put = [each for each in put if each.pin.pin_id != pin_id]
        else:
            put.append(enriched)
    return PinChanges(list(deleted), _rows(put))


def vectors_of(records: Sequence[Record]) -> tuple[list[str], list[UserVector]]:
    """(users whose vectors are withdrawn, vectors to keep); withdrawals happen first. Raises: Corrupt."""
    withdrawn: dict[str, None] = {}
    vectors: list[UserVector] = []
    for record in records:
        if record.value is None:
            user_id = (record.key or b"").decode(errors="replace")
            withdrawn[user_id] = None
            vectors = [each for each in vectors if each.user_id != user_id]
        else:
            vectors.append(_vector(record, record.value))
    return list(withdrawn), vectors


def _enriched(record: Record) -> pins_pb2.EnrichedPin | None:
    if record.value is None:
        return None
    try:
        enriched = pins_pb2.EnrichedPin.FromString(record.value)
    except DecodeError as error:
        raise Corrupt(f"record at {where(record)} is no EnrichedPin: {error}") from error
    if not enriched.pin.pin_id:
        raise Corrupt(f"pin at {where(record)} has no id", field="pin_id", reason="empty")
    for field, time_ms in (
        ("published_time_ms", enriched.pin.published_time_ms),
        ("created_time_ms", enriched.pin.created_time_ms),
        ("enriched_time_ms", enriched.enriched_time_ms),
    ):
        check_time(where(record), field, time_ms)
    _array(enriched.content_vector, record)  # poison is found before anything of the run is written
    return enriched


def _rows(pins: Sequence[pins_pb2.EnrichedPin]) -> PinRows:
    return PinRows(
        pa.RecordBatch.from_pylist([_row(each) for each in pins], schema=PIN_SCHEMA),
        [each.pin.published_time_ms for each in pins],
        [each.enriched_time_ms for each in pins],
    )


def _row(enriched: pins_pb2.EnrichedPin) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(enriched.pin, name) for name in _FROM_PIN}
    vector = tensor_to_numpy(enriched.content_vector) if enriched.content_vector.data else None
    return row | {
        "topics": list(enriched.pin.topics),
        "safety_labels": list(enriched.pin.safety_labels),
        "quality_score": enriched.quality_score,
        "content_vector": vector,
        "content_vector_version": enriched.content_vector_version,
        "semantic_id": list(enriched.semantic_id),
    }


def _vector(record: Record, value: bytes) -> UserVector:
    try:
        embedding = indexer_pb2.UserEmbedding.FromString(value)
    except DecodeError as error:
        raise Corrupt(f"record at {where(record)} is no UserEmbedding: {error}") from error
    if not embedding.user_id or not embedding.vector.encoder:
        raise Corrupt(f"vector at {where(record)} has no user or encoder", field="user_id", reason="empty")
    found = embedding.vector
    check_time(where(record), "computed_time_ms", found.computed_time_ms)
    if len(found.encoder_version.encode()) > MAX_VERSION_BYTES:
        raise Corrupt(f"vector at {where(record)} has too long a version", field="encoder_version", reason="too_long")
    return UserVector(
        embedding.user_id, found.encoder, found.encoder_version, _array(found.vector, record), found.computed_time_ms
    )


def _array(tensor: common_pb2.Tensor, record: Record) -> Any:
    """float32 [D]; empty when the tensor is absent."""
    if not tensor.data:
        return np.zeros(0, dtype=np.float32)
    try:
        array = tensor_to_numpy(tensor)
    except Invalid as error:
        raise Corrupt(f"vector at {where(record)}: {error}", reason="bad_vector") from error
    if array.dtype != np.float32 or array.ndim != 1 or not np.isfinite(array).all():
        raise Corrupt(
            f"vector at {where(record)} is {array.dtype} {array.shape}, not finite float32 [D]", reason="bad_vector"
        )
    return array
