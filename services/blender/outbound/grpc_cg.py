"""Candidates from cg: every generator of a surface in one call."""

from collections.abc import Sequence

import numpy as np

from chassis.grpc.client import ChannelPool
from protos.candidate_columns import decode_columns
from protos.cg.v1 import cg_pb2 as pb
from protos.cg.v1.cg_pb2_grpc import RetrievalServiceStub
from protos.common.v1 import common_pb2 as common
from services.blender.domain.candidate import POPULAR, Candidate
from services.blender.domain.candidates import Candidates
from services.blender.domain.feed_request import FeedRequest
from services.blender.outbound.grpc_messages import degradations_of
from services.blender.ports import Retrieved

NOBODY = "nobody"  # a user id without history, for lists that are nobody's


class GrpcCandidates:
    """CandidateSource over RetrievalService."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool

    async def retrieve(
        self, request: FeedRequest, num_candidates: int, exclude: Sequence[str], history: bytes
    ) -> Retrieved:
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
                wants_columns=True,
                history=common.History.FromString(history) if history else None,
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
                wants_columns=True,
            )
        )
        return found.candidates

    async def _call(self, request: pb.RetrieveRequest) -> Retrieved:
        answer: pb.RetrieveResponse = await self._pool.hedged(RetrievalServiceStub, "Retrieve", request)
        return Retrieved(
            candidates=_columns(answer.columns) if answer.HasField("columns") else _rows(answer),
            versions=dict(answer.versions.by_artifact),
            degradations=degradations_of(answer.degradations),
        )


def _columns(message: common.CandidateColumns) -> Candidates:
    """Raises: Invalid when they do not fit each other."""
    found = decode_columns(message)
    num = len(found.pin_ids)
    return Candidates(
        found.pin_ids,
        [found.generators[number] for number in found.generator_N.tolist()],
        found.content_groups or [""] * num,
        found.score_N,
        np.arange(num),  # in the merged order
        found.generators,
        found.score_by_generator_NG,
        score_N=np.zeros(num),
        rank_by_score_N=np.full(num, -1),
        heads=(),
        score_by_head_NH=np.zeros((num, 0)),
    )


def _rows(answer: pb.RetrieveResponse) -> Candidates:
    """From a cg of the version before, while both run."""
    return Candidates.of(
        Candidate(
            pin_id=each.pin_id,
            generator=each.generator,
            retrieval_score=each.score,
            retrieval_rank=rank,
            score_by_generator=dict(each.score_by_generator),
            content_group=each.content_group,
        )
        for rank, each in enumerate(answer.candidates)
    )
