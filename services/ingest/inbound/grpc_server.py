"""The door of ingest."""

from collections.abc import Sequence
from typing import Any

from chassis.metrics import Metrics
from protos.ingest.v1 import ingest_pb2 as pb
from protos.ingest.v1 import ingest_pb2_grpc
from services.ingest.app.publish_events import PublishEvents
from services.ingest.app.publish_pins import PublishPins
from services.ingest.domain.event import Verdict
from services.ingest.inbound.messages import to_event, to_pin, to_verdicts


class IngestGrpc(ingest_pb2_grpc.IngestServiceServicer):
    """Messages in, use case, messages out."""

    def __init__(self, publish_events: PublishEvents, publish_pins: PublishPins, metrics: Metrics) -> None:
        self._publish_events = publish_events
        self._publish_pins = publish_pins
        self._verdicts = metrics.counter(
            "ingest_verdicts_total", "Items by what became of them.", ("item", "outcome", "code")
        )

    async def PublishEvents(self, request: pb.PublishEventsRequest, context: Any) -> pb.PublishEventsResponse:  # noqa: ARG002
        """Verdicts in the order of the events."""
        answer = await self._publish_events(
            [to_event(event) for event in request.events], request.tenant, request.ByteSize()
        )
        self._count("event", answer.verdicts)
        return pb.PublishEventsResponse(
            verdicts=to_verdicts(answer.verdicts), definitions_version=answer.definitions_version
        )

    async def PublishPins(self, request: pb.PublishPinsRequest, context: Any) -> pb.PublishPinsResponse:  # noqa: ARG002
        """Verdicts in the order of the pins."""
        verdicts = await self._publish_pins([to_pin(pin) for pin in request.pins], request.tenant, request.ByteSize())
        self._count("pin", verdicts)
        return pb.PublishPinsResponse(verdicts=to_verdicts(verdicts))

    def _count(self, item: str, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._verdicts.labels(item, verdict.outcome.value, verdict.code).inc()
