"""The door of enrich."""

from typing import Any

from chassis.clock import Clock
from protos.enrich.v1 import enrich_pb2 as pb
from protos.enrich.v1 import enrich_pb2_grpc
from services.enrich.app.preview_event import PreviewEvent
from services.enrich.inbound.messages import to_event, to_preview


class EnrichGrpc(enrich_pb2_grpc.EnrichServiceServicer):
    """Message in, use case, message out."""

    def __init__(self, preview_event: PreviewEvent, clock: Clock) -> None:
        self._preview_event = preview_event
        self._clock = clock

    async def PreviewEvent(self, request: pb.PreviewEventRequest, context: Any) -> pb.PreviewEventResponse:  # noqa: ARG002
        """Which executors ran, what they wrote, or why the event was filtered."""
        return to_preview(await self._preview_event(to_event(request.event, self._clock.now_ms())))
