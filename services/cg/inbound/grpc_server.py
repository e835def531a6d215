"""RetrievalService on the wire."""

from typing import Any

import numpy as np

from chassis.deadline import current_deadline
from protos.candidate_columns import CandidateColumns, encode_columns
from protos.cg.v1 import cg_pb2 as pb
from protos.cg.v1.cg_pb2_grpc import RetrievalServiceServicer
from protos.common.v1 import common_pb2 as common
from protos.common.v1.common_pb2 import Degradation, Versions
from protos.history import handed_on
from services.cg.app.retrieve import RetrievalAsk, Retrieve
from services.cg.domain.candidates import Candidate, Candidates
from services.cg.domain.event_columns import EVENTS, history_events
from services.cg.domain.retrieval import GeneratorReport, HistoryEvent, Retrieved


class RetrievalServer(RetrievalServiceServicer):
    """Messages to dataclasses and back."""

    def __init__(self, retrieve: Retrieve, timeout_s: float, *, sequence: str, max_history: int) -> None:
        self._retrieve = retrieve
        self._timeout_s = timeout_s
        self._sequence, self._max_history = sequence, max_history

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:  # noqa: ARG002
        """Runs every generator of the surface."""
        ask = RetrievalAsk(
            user_id=request.user_id,
            surface=request.surface,
            num_candidates=request.num_candidates,
            subject_pin_id=request.subject_pin_id,
            locale=request.locale,
            exclude_pin_ids=tuple(request.exclude_pin_ids),
            generators=tuple(request.generators),
            min_price_micros=request.min_price_micros,
            max_price_micros=request.max_price_micros,
            history=self._history(request),
        )
        retrieved = await self._retrieve(ask, current_deadline(self._timeout_s))
        response = _response(retrieved)
        if request.wants_columns:
            response.columns.CopyFrom(_columns(retrieved.candidates))
        else:
            response.candidates.extend(map(_candidate, retrieved.candidates))
        return response

    def _history(self, request: pb.RetrieveRequest) -> tuple[HistoryEvent, ...] | None:
        rows = handed_on(request.history, self._sequence, self._max_history, EVENTS)
        return None if rows is None else history_events(rows)


def _response(retrieved: Retrieved) -> pb.RetrieveResponse:
    return pb.RetrieveResponse(
        generators=[_report(report) for report in retrieved.reports],
        degradations=[
            Degradation(component=item.component, reason=item.reason, level=item.level)
            for item in retrieved.degradations
        ],
        versions=Versions(by_artifact=dict(retrieved.versions)),
    )


def _columns(candidates: Candidates) -> common.CandidateColumns:
    return encode_columns(
        CandidateColumns(
            candidates.pin_ids,
            candidates.generators,
            candidates.generator_N.astype(np.int32),
            candidates.score_N,
            candidates.rank_N.astype(np.int32),
            candidates.score_by_generator_NG,
            candidates.content_groups,
        )
    )


def _candidate(candidate: Candidate) -> pb.Candidate:
    return pb.Candidate(
        pin_id=candidate.pin_id,
        generator=candidate.generator,
        score=candidate.score,
        rank=candidate.rank,
        score_by_generator=dict(candidate.score_by_generator),
        content_group=candidate.content_group,
    )


def _report(report: GeneratorReport) -> pb.GeneratorReport:
    return pb.GeneratorReport(
        generator=report.generator,
        num_returned=report.num_returned,
        duration_ms=report.duration_ms,
        index_version=report.index_version,
        encoder_version=report.encoder_version,
    )
