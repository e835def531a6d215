"""What the online role does with accepted events: some of them are looked for in the store later on."""

from collections.abc import Mapping, Sequence

from chassis.errors import Corrupt
from chassis.kafka import arrow
from chassis.kafka.bus import Bus
from chassis.kafka.record import Record
from chassis.metrics import Metrics
from protos import event_schema, topics
from services.indexer.app.audit_sequences import AuditSequences

ACCEPTED_TOPICS = (topics.EVENTS_ACCEPTED,)


class AcceptedConsumer:
    """Never parks and never waits: enrich answers for the records, this only watches."""

    def __init__(self, audit: AuditSequences, bus: Bus, metrics: Metrics) -> None:
        self._audit = audit
        self._bus = bus
        help_text = "Accepted envelopes that could not be audited, by reason."
        self._skipped = metrics.counter("sequence_audit_envelopes_skipped_total", help_text, ("reason",))

    async def handle(self, records: Sequence[Record]) -> None:
        """Raises nothing of its own."""
        for record in records:
            if not self._audit.wants(record.partition, record.offset):
                continue
            try:
                envelope = arrow.decode(record.value)
                if not envelope.schema.equals(event_schema.ACCEPTED):
                    raise Corrupt("not the columns of an accepted envelope", reason="bad_schema")
                self._audit.take(envelope)
            except Corrupt as error:
                self._skipped.labels(error.reason).inc()

    async def start_offsets(self) -> Mapping[tuple[str, int], int]:
        """The ends: what was accepted while this process was away is not worth a backlog. Raises: Unavailable."""
        return await self._bus.end_offsets(ACCEPTED_TOPICS)
