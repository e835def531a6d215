"""Scores from the ranker's root."""

from collections.abc import Mapping, Sequence

from chassis.clock import Clock
from chassis.grpc.client import ChannelPool
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceStub
from services.blender.domain.candidate import Candidate
from services.blender.domain.feed_request import FeedRequest
from services.blender.outbound.grpc_messages import degradations_of, events_of
from services.blender.ports import Ranking, Score


class GrpcRanker:
    """Ranker over RankingService."""

    def __init__(self, pool: ChannelPool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock

    async def rank(
        self, request: FeedRequest, request_id: str, candidates: Sequence[Candidate], versions: Mapping[str, str]
    ) -> Ranking:
        """See Ranker."""
        message = pb.RankRequest(
            user_id=request.user_id,
            surface=request.surface,
            subject_pin_id=request.subject_pin_id,
            candidates=[
                pb.RankCandidate(
                    pin_id=each.pin_id,
                    retrieval_score=each.retrieval_score,
                    retrieval_rank=each.retrieval_rank,
                    score_by_generator=each.score_by_generator,
                )
                for each in candidates
            ],
            request_id=request_id,
            request_time_ms=self._clock.now_ms(),
            versions=common.Versions(by_artifact=versions),
        )
        answer: pb.RankResponse = await self._pool.call(RankingServiceStub, "Rank", message)
        return Ranking(
            scores={each.pin_id: Score(each.score, dict(each.score_by_head)) for each in answer.pins},
            versions=dict(answer.versions.by_artifact),
            degradations=degradations_of(answer.degradations),
            sequence_version=answer.sequence_version,
            influencing_events=events_of(answer.influencing_events),
        )
