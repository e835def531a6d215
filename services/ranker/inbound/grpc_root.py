"""RankingService on the wire."""

from typing import Any

import numpy as np

from chassis.deadline import current_deadline
from chassis.errors import Invalid
from protos.candidate_columns import decode_columns
from protos.common.v1.common_pb2 import Degradation, Versions
from protos.history import handed_on
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceServicer
from protos.tensors import numpy_to_tensor
from services.ranker.app.rank import Rank
from services.ranker.domain.candidates import Candidates, RankCandidate
from services.ranker.domain.event_columns import EVENTS, sequence_events
from services.ranker.domain.ranked_pins import RankedPins
from services.ranker.domain.ranking import RankAsk, Ranked, UserSequence


class RankingServer(RankingServiceServicer):
    """Messages to dataclasses and back."""

    def __init__(self, rank: Rank, timeout_s: float, *, sequence: str, max_events: int) -> None:
        self._rank = rank
        self._timeout_s = timeout_s
        self._sequence, self._max_events = sequence, max_events

    async def Rank(self, request: pb.RankRequest, context: Any) -> pb.RankResponse:  # noqa: ARG002
        """Scores candidates for a user."""
        has_columns = request.HasField("columns")
        ask = RankAsk(
            request.user_id,
            request.surface,
            _columns(request) if has_columns else _rows(request),
            request.request_time_ms,
            request.request_id,
            dict(request.versions.by_artifact),
            self._history(request),
        )
        ranked = await self._rank(ask, current_deadline(self._timeout_s))
        response = _response(ranked)
        if has_columns:
            response.columns.CopyFrom(_ranked_columns(ranked.pins))
        else:
            response.pins.extend(
                pb.RankedPin(pin_id=pin.pin_id, score=pin.score, score_by_head=pin.score_by_head) for pin in ranked.pins
            )
        return response

    def _history(self, request: pb.RankRequest) -> UserSequence | None:
        history = request.history
        rows = handed_on(history, self._sequence, self._max_events, EVENTS)
        if rows is None:
            return None
        events = sequence_events(rows)
        return UserSequence(events, history.sequence_version, history.num_total, history.definitions_version)


def _rows(request: pb.RankRequest) -> Candidates:
    rows = [
        RankCandidate(each.pin_id, each.retrieval_score, each.retrieval_rank, dict(each.score_by_generator))
        for each in request.candidates
    ]
    return Candidates.of(rows)


def _columns(request: pb.RankRequest) -> Candidates:
    """Raises: Invalid naming a column that does not fit, or when there are candidates in both forms."""
    if request.candidates:
        raise Invalid("candidates come as messages and as columns: send one of them", field="candidates")
    found = decode_columns(request.columns)
    return Candidates(
        found.pin_ids,
        found.score_N,
        found.rank_N.astype(np.int64),
        found.generators,
        found.score_by_generator_NG,
        np.arange(len(found.pin_ids)),
    )


def _ranked_columns(pins: RankedPins) -> pb.RankedColumns:
    return pb.RankedColumns(
        candidate=numpy_to_tensor(pins.row_P.astype(np.int32)),
        score=numpy_to_tensor(pins.score_P),
        heads=pins.heads,
        score_by_head=numpy_to_tensor(pins.score_by_head_PH),
    )


def _response(ranked: Ranked) -> pb.RankResponse:
    return pb.RankResponse(
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
