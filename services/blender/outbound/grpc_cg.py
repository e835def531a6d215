"""Candidates from cg: every generator of a surface in one call."""

from collections.abc import Sequence

from chassis.grpc.client import ChannelPool
from protos.cg.v1 import cg_pb2 as pb
from protos.cg.v1.cg_pb2_grpc import RetrievalServiceStub
from services.blender.domain.candidate import POPULAR, Candidate
from services.blender.domain.feed_request import FeedRequest
from services.blender.outbound.grpc_messages import degradations_of
from services.blender.ports import Retrieved

NOBODY = "nobody"  # a user id without history, for lists that are nobody's


class GrpcCandidates:
    """CandidateSource over RetrievalService."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool

    async def retrieve(self, request: FeedRequest, num_candidates: int, exclude: Sequence[str]) -> Retrieved:
        """See CandidateSource."""
        return await self._call(
            pb.RetrieveRequest(
                user_id=request.user_id,
                surface=request.surface,
                subject_pin_id=request.subject_pin_id,
                query=request.query,
                locale=request.locale,
                num_candidates=num_candidates,
                exclude_pin_ids=exclude,
            )
        )

    async def popular(self, surface: str, locale: str, num_candidates: int) -> Sequence[Candidate]:
        """See CandidateSource."""
        found = await self._call(
            pb.RetrieveRequest(
                user_id=NOBODY,
                surface=surface,
                locale=locale,
                num_candidates=num_candidates,
                generators=[POPULAR],
            )
        )
        return found.candidates

    async def _call(self, request: pb.RetrieveRequest) -> Retrieved:
        answer: pb.RetrieveResponse = await self._pool.hedged(RetrievalServiceStub, "Retrieve", request)
        return Retrieved(
            candidates=[_candidate(each, rank) for rank, each in enumerate(answer.candidates)],
            versions=dict(answer.versions.by_artifact),
            degradations=degradations_of(answer.degradations),
        )


def _candidate(message: pb.Candidate, rank: int) -> Candidate:
    return Candidate(
        pin_id=message.pin_id,
        generator=message.generator,
        retrieval_score=message.score,
        retrieval_rank=rank,  # in the merged order
        score_by_generator=dict(message.score_by_generator),
        content_group=message.content_group,
    )
