"""Records of accepted events and published pins to use cases."""

from collections.abc import Sequence

from chassis.kafka import arrow
from chassis.kafka.bus import Record
from chassis.kafka.topic import Topic
from protos import topics
from services.enrich.app.enrich_events import EnrichEvents, Envelope
from services.enrich.app.enrich_pins import Change, EnrichPins
from services.enrich.inbound.messages import to_pin


class EnrichmentConsumer:
    """Handles records of either topic; returning means the effects are durable."""

    topics: tuple[Topic, ...] = (topics.EVENTS_ACCEPTED, topics.PINS_PUBLISHED)

    def __init__(self, enrich_events: EnrichEvents, enrich_pins: EnrichPins) -> None:
        self._enrich_events = enrich_events
        self._enrich_pins = enrich_pins

    @classmethod
    def topics_of(cls, shadow: str) -> tuple[Topic, ...]:
        """A shadow leaves pins alone: what it would make of them is what everybody reads."""
        return (topics.EVENTS_ACCEPTED,) if shadow else cls.topics

    async def __call__(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt or Invalid when a record cannot be read at all; what the use cases raise."""
        if not records:
            return
        if records[0].topic == topics.PINS_PUBLISHED.name:
            await self._enrich_pins([_to_change(record) for record in records])
        else:
            await self._enrich_events([_to_envelope(record) for record in records])


def _to_envelope(record: Record) -> Envelope:
    return Envelope(record.partition, arrow.decode(record.value or b""))


def _to_change(record: Record) -> Change:
    return to_pin(record.value) if record.value is not None else (record.key or b"").decode()
