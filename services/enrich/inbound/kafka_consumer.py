"""Records of accepted events and of published pins to use cases."""

from collections.abc import Sequence

from chassis.kafka import arrow
from chassis.kafka.bus import Record
from services.enrich.app.enrich_events import EnrichEvents, Envelope
from services.enrich.app.enrich_pins import Change, EnrichPins
from services.enrich.inbound.messages import to_pin


class EventsInbound:
    """Handles envelopes; returning means the effects are durable."""

    def __init__(self, enrich_events: EnrichEvents) -> None:
        self._enrich_events = enrich_events

    async def __call__(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt or Invalid when a record cannot be read at all; what the use case raises."""
        await self._enrich_events([_to_envelope(record) for record in records])


class PinsInbound:
    """Handles published pins and their tombstones, likewise."""

    def __init__(self, enrich_pins: EnrichPins) -> None:
        self._enrich_pins = enrich_pins

    async def __call__(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt or Invalid when a record cannot be read at all; what the use case raises."""
        await self._enrich_pins([_to_change(record) for record in records])


def _to_envelope(record: Record) -> Envelope:
    return Envelope(record.partition, arrow.decode(record.value or b""))


def _to_change(record: Record) -> Change:
    return to_pin(record.value) if record.value is not None else (record.key or b"").decode()
