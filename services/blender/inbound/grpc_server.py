"""The feed API and the slate step over gRPC."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from chassis.deadline import current_deadline
from protos.blender.v1 import blender_pb2 as pb
from protos.blender.v1 import blender_pb2_grpc as rpc
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as ranker
from protos.tensors import tensor_to_numpy
from services.blender.app.blend_slate import BlendSlate
from services.blender.app.explain_feed import ExplainFeed
from services.blender.app.feed_page import FeedPage
from services.blender.app.get_feed import GetFeed
from services.blender.domain.blending import BlendInput, Floating
from services.blender.domain.explanation import Explanation, places_moved
from services.blender.domain.feed_request import DEFAULT_TENANT, FeedRequest, normalise_text
from services.blender.domain.served_feed import Outcome
from services.blender.inbound.page_tokens import PageTokens

MIN_ANSWER_SHARE = 0.8  # of a very short deadline: the margin for the answer never takes more than the rest


class FeedServicer(rpc.FeedServiceServicer):
    """What surfaces call."""

    def __init__(
        self, get_feed: GetFeed, explain_feed: ExplainFeed, tokens: PageTokens, timeout_s: float, margin_s: float
    ) -> None:
        self._get_feed, self._explain_feed, self._tokens = get_feed, explain_feed, tokens
        self._timeout_s, self._margin_s = timeout_s, margin_s

    async def GetFeed(
        self,
        request: pb.GetFeedRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.GetFeedResponse:
        """One page of a person's feed."""
        asked = _feed_request(request)
        cursor = self._tokens.read(request.page_token, asked) if request.page_token else None
        left = current_deadline(self._timeout_s).capped(self._timeout_s)
        usable_s = max(left.remaining_s() - self._margin_s, left.remaining_s() * MIN_ANSWER_SHARE)
        page = await self._get_feed(asked, cursor, left.capped(usable_s))
        return self._response(page, asked)

    async def ExplainFeed(
        self,
        request: pb.ExplainFeedRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.ExplainFeedResponse:
        """Why a served feed looks as it does."""
        return _explanation(await self._explain_feed(request.request_id, list(request.why_not_pin_ids)))

    def _response(self, page: FeedPage, asked: FeedRequest) -> pb.GetFeedResponse:
        return pb.GetFeedResponse(
            items=[_item(each, asked.is_debug) for each in page.items],
            next_page_token=self._tokens.write(page.next_cursor, asked) if page.next_cursor else "",
            request_id=page.request_id,
            versions=common.Versions(by_artifact=page.versions),
            degradations=[common.Degradation(**asdict(each)) for each in page.degradations],
            trace_id=page.trace_id,
        )


class BlendServicer(rpc.BlendServiceServicer):
    """The pure slate step."""

    def __init__(self, blend_slate: BlendSlate) -> None:
        self._blend_slate = blend_slate

    async def Blend(
        self,
        request: pb.BlendRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.BlendResponse:
        """Picks for the given candidates."""
        ids = list(request.ids)
        slate = await self._blend_slate(
            BlendInput(
                ids=ids,
                relevance_N=_array(request.relevance, num_axes=1),
                vectors_ND=_array(request.vectors, num_axes=2),
                slate_size=request.slate_size,
                strategy=request.strategy,
                diversity_weight=request.diversity_weight,
                window=request.window,
                tail_KD=_array(request.seed_tail, num_axes=2),
            )
        )
        return pb.BlendResponse(
            ids=[ids[index] for index in slate.order_T.tolist()],
            relevance=slate.relevance_T.tolist(),
            diversity_bonus=slate.bonus_T.tolist(),
        )


def _feed_request(request: pb.GetFeedRequest) -> FeedRequest:
    return FeedRequest(
        user_id=normalise_text(request.user_id),
        surface=request.surface,
        page_size=request.page_size,
        subject_pin_id=normalise_text(request.subject_pin_id),
        query=normalise_text(request.query),
        locale=normalise_text(request.locale),
        client=request.client,
        tenant=normalise_text(request.tenant) or DEFAULT_TENANT,
        is_debug=request.is_debug,
    )


def _item(outcome: Outcome, is_debug: bool) -> pb.FeedItem:
    candidate = outcome.candidate
    item = pb.FeedItem(
        pin_id=candidate.pin_id,
        position=outcome.position,
        score=candidate.score,
        generator=candidate.generator,
        reason_code=outcome.reason_code,
    )
    if is_debug:
        item.score_parts.update(candidate.score_by_head)
        item.score_parts.update(
            {
                "retrieval_score": candidate.retrieval_score,
                "diversity_bonus": outcome.diversity_bonus,
                "spacing_penalty": outcome.spacing_penalty,
            }
        )
    return item


def _explanation(explanation: Explanation) -> pb.ExplainFeedResponse:
    feed = explanation.feed
    return pb.ExplainFeedResponse(
        request_id=feed.request_id,
        user_id=feed.user_id,
        surface=feed.surface,
        served_time_ms=feed.served_time_ms,
        stages=[pb.StageReport(**asdict(each)) for each in feed.stages],
        items=_explained(explanation.items),
        why_not=_explained(explanation.why_not),
        versions=common.Versions(by_artifact=feed.versions),
        trace_id=feed.trace_id,
        influencing_events=[ranker.InfluencingEvent(**asdict(each)) for each in feed.influencing_events],
        degradations=[common.Degradation(**asdict(each)) for each in feed.degradations],
        pool=_explained(explanation.pool),
        survival=[pb.GeneratorSurvival(**asdict(each)) for each in explanation.survival],
    )


def _explained(outcomes: Iterable[Outcome]) -> list[pb.ItemExplanation]:
    return [
        pb.ItemExplanation(
            pin_id=each.candidate.pin_id,
            position=each.position,
            score=each.candidate.score,
            score_by_head=each.candidate.score_by_head,
            rank_by_score=each.candidate.rank_by_score,
            diversity_bonus=each.diversity_bonus,
            spacing_penalty=each.spacing_penalty,
            moved_by=each.moved_by,
            places_moved=places_moved(each),
            generator=each.candidate.generator,
            removed_by=each.removed_by,
        )
        for each in outcomes
    ]


def _array(tensor: common.Tensor, *, num_axes: int) -> Floating:
    """An absent tensor is an empty array. Raises: Invalid when bytes, shape and type disagree."""
    if not tensor.data and not tensor.shape:
        return np.zeros((0,) * num_axes)
    array: Floating = tensor_to_numpy(tensor)
    return array
