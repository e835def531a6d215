"""Scores from the ranker's root."""

import math
from collections.abc import Mapping

import numpy as np

from chassis.clock import Clock
from chassis.grpc.client import ChannelPool
from protos.candidate_columns import CandidateColumns, column, encode_columns
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceStub
from services.blender.domain.candidates import Candidates, named
from services.blender.domain.feed_request import FeedRequest
from services.blender.domain.scores import Scores
from services.blender.outbound.grpc_messages import degradations_of, events_of
from services.blender.ports import Ranking

OLD_RANKER_S = 60.0  # a rollout takes longer; an answer that was empty by a fault is not held against it for good


class GrpcRanker:
    """Ranker over RankingService. Candidates go by column; a ranker of the version before, which answers without any,
    is asked once more by row, and for a minute by row only."""

    def __init__(self, pool: ChannelPool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self._rows_until_s = -math.inf

    async def rank(
        self,
        request: FeedRequest,
        request_id: str,
        candidates: Candidates,
        versions: Mapping[str, str],
        history: bytes,
    ) -> Ranking:
        """See Ranker."""
        message = pb.RankRequest(
            user_id=request.user_id,
            surface=request.surface,
            subject_pin_id=request.subject_pin_id,
            request_id=request_id,
            request_time_ms=self._clock.now_ms(),
            versions=common.Versions(by_artifact=versions),
            history=common.History.FromString(history) if history else None,
        )
        if self._clock.monotonic_s() >= self._rows_until_s:
            message.columns.CopyFrom(_columns(candidates))
            answer: pb.RankResponse = await self._pool.call(RankingServiceStub, "Rank", message)
            if answer.HasField("columns"):
                return _ranking(answer, _scores_by_column(answer.columns, candidates))
            self._rows_until_s = self._clock.monotonic_s() + OLD_RANKER_S
            message.ClearField("columns")
        message.candidates.extend(_rows(candidates))
        answer = await self._pool.call(RankingServiceStub, "Rank", message)
        return _ranking(answer, _scores_by_row(answer))


def _ranking(answer: pb.RankResponse, scores: Scores) -> Ranking:
    return Ranking(
        scores=scores,
        versions=dict(answer.versions.by_artifact),
        degradations=degradations_of(answer.degradations),
        sequence_version=answer.sequence_version,
        influencing_events=events_of(answer.influencing_events),
    )


def _columns(candidates: Candidates) -> common.CandidateColumns:
    num = len(candidates)
    return encode_columns(
        CandidateColumns(
            candidates.pin_ids,
            candidates.sources or [""],
            np.zeros(num, dtype=np.int32),  # the ranker does not ask which one was best
            candidates.retrieval_score_N,
            candidates.retrieval_rank_N.astype(np.int32),
            candidates.score_by_source_NG if candidates.sources else np.full((num, 1), np.nan),
        )
    )


def _rows(candidates: Candidates) -> list[pb.RankCandidate]:
    scores = candidates.retrieval_score_N.tolist(), candidates.retrieval_rank_N.tolist()
    return [
        pb.RankCandidate(
            pin_id=pin_id,
            retrieval_score=score,
            retrieval_rank=rank,
            score_by_generator=named(candidates.sources, row),
        )
        for pin_id, score, rank, row in zip(
            candidates.pin_ids, *scores, candidates.score_by_source_NG.tolist(), strict=True
        )
    ]


def _scores_by_column(message: pb.RankedColumns, candidates: Candidates) -> Scores:
    """Raises: Invalid when columns do not fit; IndexError for a candidate that was not asked for."""
    num, heads = len(message.candidate.data) // 4, list(message.heads)
    rows = column(message.candidate, "columns.candidate", np.int32, (num,)).tolist()
    return Scores(
        [candidates.pin_ids[row] for row in rows],
        column(message.score, "columns.score", np.float64, (num,)),
        heads,
        column(message.score_by_head, "columns.score_by_head", np.float64, (num, len(heads))),
    )


def _scores_by_row(answer: pb.RankResponse) -> Scores:
    by_pin = {each.pin_id: each for each in answer.pins}
    heads = sorted({head for each in answer.pins for head in each.score_by_head})
    scores = [[each.score_by_head.get(head, np.nan) for head in heads] for each in by_pin.values()]
    return Scores(
        list(by_pin),
        np.array([each.score for each in by_pin.values()], dtype=np.float64),
        heads,
        np.array(scores, dtype=np.float64).reshape(len(by_pin), len(heads)),
    )
