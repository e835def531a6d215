"""Use case: one page of a person's feed."""

import asyncio
import secrets
import uuid
from dataclasses import replace

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.metrics import Metrics
from chassis.pipeline import Pipeline
from chassis.tracing import current_trace_id
from services.blender.app.catalogue import Catalogue
from services.blender.app.feature_memory import FeatureMemory
from services.blender.app.feature_prefetch import FeaturePrefetch
from services.blender.app.feed_page import FeedPage
from services.blender.app.feed_stages import FeedPipelines
from services.blender.app.feed_state import FeedState
from services.blender.app.survival_meter import SurvivalMeter
from services.blender.app.variety_meter import VarietyMeter
from services.blender.domain.candidate import Degradation
from services.blender.domain.cursor import Cursor
from services.blender.domain.feed_request import FeedRequest, check
from services.blender.domain.served_feed import StageCount
from services.blender.domain.spacing_rules import applicable
from services.blender.ports import PinSource

SEED_BITS = 32


class GetFeed:
    """The answer always comes; what is missing is named in it."""

    def __init__(
        self, catalogue: Catalogue, pins: PinSource, features: FeatureMemory, pipelines: FeedPipelines, metrics: Metrics
    ) -> None:
        self._catalogue, self._pins, self._features, self._pipelines = catalogue, pins, features, pipelines
        self._feeds = metrics.counter("blender_feeds_total", "Pages answered.", ("surface", "quality"))
        self._variety = VarietyMeter(metrics)
        self._survival = SurvivalMeter(metrics)
        self._items = metrics.counter("blender_items_total", "Items answered.", ("surface",))

    async def __call__(self, request: FeedRequest, cursor: Cursor | None, deadline: Deadline) -> FeedPage:
        """The page at `cursor`; the first one without.

        Raises: Invalid naming the field at fault; Overloaded with retry_after_s; Unavailable before any definitions.
        """
        failure: CorkboardError | None = None
        async with asyncio.TaskGroup() as tasks:
            prefetch = FeaturePrefetch(self._pins, self._features, tasks)
            try:
                state = await self._run(self._open(request, cursor, prefetch), deadline)
            except CorkboardError as error:  # a task group would wrap it
                failure = error
            finally:
                prefetch.cancel()
        if failure is not None:
            raise failure
        return self._page(state)

    def _open(self, request: FeedRequest, cursor: Cursor | None, prefetch: FeaturePrefetch) -> FeedState:
        definitions = self._catalogue.current
        surface = check(request, definitions.surfaces)
        return FeedState(
            request=request,
            surface=surface,
            spacing=applicable(definitions.spacing, surface.name),
            request_id=uuid.uuid4().hex,
            cursor=cursor or Cursor(secrets.token_hex(8), page=0, position=0, seed=secrets.randbits(SEED_BITS)),
            prefetch=prefetch,
            versions={"definitions": definitions.version},
        )

    async def _run(self, state: FeedState, deadline: Deadline) -> FeedState:
        state = await _advance(self._pipelines.door, state, deadline)
        if state.cursor.page > 0:
            state = await _advance(self._pipelines.find, state, deadline)
        pages = self._pipelines.next_page if state.session else self._pipelines.first_page
        state = await _advance(pages, state, deadline)
        return await _advance(self._pipelines.closing, state, deadline)

    def _page(self, state: FeedState) -> FeedPage:
        quality = "empty" if not state.placed else "degraded" if state.degradations else "full"
        self._feeds.labels(state.surface.name, quality).inc()
        self._items.labels(state.surface.name).inc(len(state.placed))
        self._variety.observe(state)
        self._survival.observe(state)
        return FeedPage(
            items=state.placed,
            next_cursor=state.next_cursor,
            request_id=state.request_id,
            versions=state.versions,
            degradations=state.degradations,
            trace_id=current_trace_id(),
        )


async def _advance(pipeline: Pipeline[FeedState], state: FeedState, deadline: Deadline) -> FeedState:
    """The state after these stages, with their counts and what they missed."""
    state, reports, degraded = await pipeline.run(state, deadline)
    counts = [
        StageCount(each.name, each.num_in, each.num_kept, each.num_removed, each.duration_ms, each.fallback)
        for each in reports
    ]
    missed = [Degradation(each.component, each.reason, each.level) for each in degraded]
    return replace(state, stages=(*state.stages, *counts)).degrade(*missed)
