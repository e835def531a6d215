"""What the page asks of Corkboard: the same calls that any surface makes."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chassis.errors import CorkboardError, NotFound
from corkboard import feed_client
from corkboard.session import Session
from corkboard.traces.store import TraceStore
from corkboard.traces.waterfall import JoinedTrace, join
from protos.blender.v1 import blender_pb2, blender_pb2_grpc
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch
from protos.tensors import numpy_to_tensor

COLUMNS = ("pin_id", "title", "topics", "advertiser_id", "price_micros", "content_vector")
ACTIONS = ("save", "click", "hide")
READABLE_WITHIN_S = 2.0
POLL_S = 0.02
CLIENT = "corkboard-page"
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
STRATEGIES = ("ssd", "ssd_spectral", "dpp", "mmr")


@dataclass(frozen=True)
class Asked:
    """Whose feed of which surface; `subject` and `query` where the surface wants one."""

    user: str
    surface: str = "home"
    subject: str = ""
    query: str = ""
    token: str = ""
    page_size: int = 24


@dataclass(frozen=True)
class Shown:
    """A feed, why it looks so, and what is known of its pins and of its pool."""

    feed: blender_pb2.GetFeedResponse
    why: blender_pb2.ExplainFeedResponse
    pins: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Point:
    """One strategy at one weight, on the pool of one feed."""

    strategy: str
    weight: float
    relevance_kept: float
    distance: float


class Backend:
    """Over one session."""

    def __init__(self, session: Session, traces: TraceStore) -> None:
        self._session, self._traces = session, traces

    async def feed(self, asked: Asked) -> Shown:
        """Ask, and explain the answer. Raises: what GetFeed answers."""
        request = blender_pb2.GetFeedRequest(
            user_id=asked.user,
            surface=asked.surface,
            subject_pin_id=asked.subject,
            query=asked.query,
            page_size=asked.page_size,
            page_token=asked.token,
            client=CLIENT,
            is_debug=True,
        )
        feed = (await feed_client.get_feed(self._session, request, with_titles=False)).response
        return Shown(feed, await self._why(feed.request_id), await self._pins([item.pin_id for item in feed.items]))

    async def explain(self, request_id: str, why_not: Sequence[str] = ()) -> blender_pb2.ExplainFeedResponse:
        """Raises: NotFound when the feed is not known, or no longer."""
        return await feed_client.explain(self._session, request_id, why_not)

    async def titles(self, pin_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the indexer knows of pins."""
        return await self._pins(pin_ids)

    async def act(self, user: str, action: str, pin_id: str, request_id: str, surface: str) -> str:
        """Publish, and return when it can be read (at most two seconds); the trace of the event.

        Raises: NotFound for an action the page does not offer, what ingest answers.
        """
        if action not in ACTIONS:
            raise NotFound(f"there is no action {action!r} here; there are: {', '.join(ACTIONS)}", field="action")
        event = ingest_pb2.Event(
            event_id=f"page-{uuid.uuid4().hex}",
            user_id=user,
            event_type=action,
            event_time_ms=time.time_ns() // 1_000_000,
            pin_id=pin_id,
            surface=surface,
            request_id=request_id,
        )
        verdict = await feed_client.publish_one(self._session, event)
        if verdict.outcome == ingest_pb2.OUTCOME_REJECTED:
            raise NotFound(f"{verdict.field}: {verdict.message}", field=verdict.field)
        await self._until_readable(user, event.event_id)
        return event.event_id

    async def trace(self, trace_id: str) -> JoinedTrace:
        """With what links join to it. Raises: NotFound while nothing of it has arrived."""
        found = await asyncio.to_thread(join, self._traces, trace_id)
        if not found.spans:
            raise NotFound(f"no span of trace {trace_id} has arrived; they come within a few seconds")
        return found

    async def frontier(self, why: blender_pb2.ExplainFeedResponse) -> list[Point]:
        """What each strategy would have made of this feed's pool; empty when fewer than two pins have a vector."""
        pool = [item for item in why.pool if item.rank_by_score >= 0]
        pins = await self._pins([item.pin_id for item in pool])
        known = [item for item in pool if pins.get(item.pin_id, {}).get("content_vector")]
        if len(known) < 2:
            return []
        vectors = np.array([pins[item.pin_id]["content_vector"] for item in known], dtype=np.float32)
        scores = np.array([item.score for item in known])
        num_slots = max(2, min(len(why.items), len(known)))
        row = {item.pin_id: number for number, item in enumerate(known)}
        points = []
        for strategy in STRATEGIES:
            for weight in WEIGHTS:
                request = blender_pb2.BlendRequest(
                    ids=list(row),
                    relevance=numpy_to_tensor(scores),
                    vectors=numpy_to_tensor(vectors),
                    slate_size=num_slots,
                    strategy=strategy,
                    diversity_weight=weight,
                )
                answer = await self._session.call("blender", blender_pb2_grpc.BlendServiceStub, "Blend", request)
                rows = [row[pin_id] for pin_id in answer.ids]
                points.append(Point(strategy, weight, *_measures(scores, vectors, rows)))
        return points

    async def _why(self, request_id: str) -> blender_pb2.ExplainFeedResponse:
        """An explanation is written behind the answer: wait a moment for it; empty when it does not come."""
        give_up_s = time.monotonic() + READABLE_WITHIN_S
        while True:
            try:
                return await self.explain(request_id)
            except CorkboardError:
                if time.monotonic() > give_up_s:
                    return blender_pb2.ExplainFeedResponse(request_id=request_id)
            await asyncio.sleep(POLL_S)

    async def _pins(self, pin_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        request = indexer_pb2.BatchGetPinsRequest(pin_ids=pin_ids, columns=COLUMNS)
        try:
            answer = await self._session.call("indexer", indexer_pb2_grpc.FeatureServiceStub, "BatchGetPins", request)
        except CorkboardError:
            return {}  # titles are nice to have
        return {row["pin_id"]: row for row in table_to_batch(answer.pins).to_pylist()}

    async def _until_readable(self, user: str, event_id: str) -> None:
        request = indexer_pb2.GetSequenceRequest(
            user_id=user, sequence="engagement", max_events=20, columns=["event_id"]
        )
        give_up_s = time.monotonic() + READABLE_WITHIN_S
        while time.monotonic() < give_up_s:
            answer = await self._session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "GetSequence", request)
            if event_id in table_to_batch(answer.events).column("event_id").to_pylist():
                return
            await asyncio.sleep(POLL_S)


def _measures(scores_N: Any, vectors_ND: Any, rows: Sequence[int]) -> tuple[float, float]:
    """Share of the best page's relevance, each score above the pool's worst; mean distance between all pairs."""
    above_N = scores_N - scores_N.min()
    best = float(np.sort(above_N)[::-1][: len(rows)].sum())
    picked_TD = vectors_ND[list(rows)]
    unit_TD = picked_TD / np.maximum(np.linalg.norm(picked_TD, axis=1, keepdims=True), 1e-9)
    num = len(rows)
    distance = 1.0 - (float((unit_TD @ unit_TD.T).sum()) - num) / (num * (num - 1))
    return (float(above_N[list(rows)].sum()) / best if best > 0 else 1.0), distance
