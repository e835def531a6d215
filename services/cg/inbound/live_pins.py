"""Keeps the index equal to the topic of enriched pins."""

from google.protobuf.message import DecodeError

from chassis.errors import CorkboardError
from chassis.kafka.bus import Record
from chassis.metrics import Metrics
from protos.pins.v1.pins_pb2 import EnrichedPin
from protos.tensors import tensor_to_numpy
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_index import PinIndex


class LivePins:
    """Applies one record of the topic; a record that is no pin is counted and passed over."""

    def __init__(self, index: PinIndex, metrics: Metrics) -> None:
        self._index = index
        self._size = metrics.gauge("index_pins", "Pins that can be retrieved.")
        self._refused = metrics.counter("index_refusals_total", "Pins or vectors not taken, by reason.", ("reason",))

    def apply(self, record: Record) -> None:
        """Add, replace or (tombstone) remove a pin."""
        pin_id = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._index.remove(pin_id)
        else:
            self._upsert(record.value)
        self._size.set(len(self._index))

    def _upsert(self, value: bytes) -> None:
        try:
            pin = decode_pin(value)
        except (DecodeError, CorkboardError):
            self._refused.labels("malformed").inc()
            return
        if not pin.pin_id:
            self._refused.labels("no_pin_id").inc()
            return
        if refusal := self._index.upsert(pin):
            self._refused.labels(refusal).inc()


def decode_pin(value: bytes) -> IndexedPin:
    """A pin from the wire. Raises: DecodeError, Invalid."""
    message = EnrichedPin.FromString(value)
    pin = message.pin
    return IndexedPin(
        pin_id=pin.pin_id,
        content_vector=tensor_to_numpy(message.content_vector) if message.HasField("content_vector") else None,
        topics=tuple(pin.topics),
        created_time_ms=pin.created_time_ms or pin.published_time_ms,
        quality_score=message.quality_score,
        locale=pin.locale,
        content_group=pin.content_group,
    )
