"""RankingService on the wire."""

from typing import Any

from chassis.deadline import current_deadline
from protos.common.v1.common_pb2 import Degradation, Versions
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceServicer
from services.ranker.app.rank import Rank
from services.ranker.domain.ranking import RankAsk, RankCandidate, Ranked


class RankingServer(RankingServiceServicer):
    """Messages to dataclasses and back."""

    def __init__(self, rank: Rank, timeout_s: float) -> None:
        self._rank = rank
        self._timeout_s = timeout_s

    async def Rank(self, request: pb.RankRequest, context: Any) -> pb.RankResponse:  # noqa: ARG002
        """Scores candidates for a user."""
        candidates = tuple(
            RankCandidate(c.pin_id, c.retrieval_score, c.retrieval_rank, dict(c.score_by_generator))
            for c in request.candidates
        )
        ask = RankAsk(
            request.user_id,
            request.surface,
            candidates,
            request.request_time_ms,
            request.request_id,
            dict(request.versions.by_artifact),
        )
        return _response(await self._rank(ask, current_deadline(self._timeout_s)))


def _response(ranked: Ranked) -> pb.RankResponse:
    return pb.RankResponse(
        pins=[
            pb.RankedPin(pin_id=pin.pin_id, score=pin.score, score_by_head=dict(pin.score_by_head))
            for pin in ranked.pins
        ],
        degradations=[
            Degradation(component=item.component, reason=item.reason, level=item.level) for item in ranked.degradations
        ],
        versions=Versions(by_artifact=dict(ranked.versions)),
        sequence_version=ranked.sequence_version,
        influencing_events=[
            pb.InfluencingEvent(
                event_id=event.event_id,
                event_type=event.event_type,
                pin_id=event.pin_id,
                event_time_ms=event.event_time_ms,
                traceparent=event.traceparent,
            )
            for event in ranked.influencing_events
        ],
    )
