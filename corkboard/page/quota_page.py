"""The quota pages: the tree of rules with what is used of them, and the story of one rule."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from corkboard.commands.quota_calls import marks, state_name
from corkboard.commands.quota_values import shown_limit
from corkboard.page import quota_views as views
from corkboard.page.quota_backend import HOUR_MS, QuotaBackend

SPANS = {"1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 7 * 24 * HOUR_MS, "28d": 28 * 24 * HOUR_MS}

Render = Callable[..., web.Response]


class QuotaPages:
    """They only look; steps are taken with `corkboard quota`."""

    def __init__(self, backend: QuotaBackend, render: Render) -> None:
        self._backend, self._render = backend, render

    @property
    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [web.get("/quota", self.tree), web.get("/quota/rule/{key:.+}", self.rule)]

    async def tree(self, _: web.Request) -> web.Response:
        """Every rule under its levels, usage against limit, and capacity."""
        overview = await self._backend.overview()
        return self._render(
            "quota.html",
            nodes=views.tree(overview),
            capacity=views.capacity_bars(overview.capacity),
            target=overview.capacity.target,
            orphans=overview.capacity.orphans,
            missing=overview.missing,
            spark=(views.SPARK_WIDTH, views.SPARK_HEIGHT),
        )

    async def rule(self, request: web.Request) -> web.Response:
        """One rule: what was used over time, by whom, and how it came to be."""
        key = request.match_info["key"]
        span = request.query.get("span", "1h")
        story = await self._backend.story(key, SPANS.get(span, HOUR_MS))
        published = views.in_force(story.history)
        shown: Any = published or story.history[-1].after
        return self._render(
            "quota_rule.html",
            key=key,
            rule=shown.rule,
            version=shown,
            state=state_name(shown),
            limit=shown_limit(shown.rule.limit, shown.rule.unit, shown.rule.period_s, shown.rule.kind),
            tags=marks(shown.rule),
            chart=views.chart(story, shown.rule),
            size=(views.CHART_WIDTH, views.CHART_HEIGHT),
            sources=views.sources(story),
            steps=views.steps(story.history),
            spans=list(SPANS),
            span=span if span in SPANS else "1h",
            missing=story.missing,
        )
