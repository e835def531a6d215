"""The routes of the page. Server-rendered: a browser needs no script, and nothing is built."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from aiohttp import web

from chassis.errors import CorkboardError
from corkboard.page import views
from corkboard.page.backend import ACTIONS, Asked, Backend
from corkboard.page.quota_backend import QuotaBackend
from corkboard.page.quota_page import QuotaPages

TEMPLATES = Path(__file__).parent / "templates"
SURFACES = ("home", "related", "search")
HTTP_STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504}
DEFAULT_USER = "person-00042"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(backend: Backend, quota: QuotaBackend) -> web.Application:
    """The pages over what they ask."""
    page = _Page(backend)
    app = web.Application(middlewares=[_errors_as_pages, _same_origin])
    app.add_routes(
        [
            web.get("/", page.wall),
            web.post("/act", page.act),
            web.get("/explain/{request_id}", page.explain),
            web.get("/trace/{trace_id}", page.trace),
            *QuotaPages(quota, _render).routes,
        ]
    )
    return app


class _Page:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def wall(self, request: web.Request) -> web.Response:
        """A person's feed."""
        query = request.query
        asked = Asked(
            user=query.get("user", "").strip() or DEFAULT_USER,
            surface=query.get("surface", "home"),
            subject=query.get("subject", "").strip(),
            query=query.get("query", "").strip(),
            token=query.get("token", ""),
        )
        shown = await self._backend.feed(asked)
        before = await self._backend.explain(query["before"]) if query.get("before") else None
        return _render(
            "wall.html",
            asked=asked,
            feed=shown.feed,
            why=shown.why,
            cards=views.cards(shown, before),
            funnel=views.funnel(shown.why),
            surfaces=SURFACES,
            done=query.get("done", ""),
            next_url=_wall(asked, token=shown.feed.next_page_token) if shown.feed.next_page_token else "",
        )

    async def act(self, request: web.Request) -> web.Response:
        """Publish what a person did, then show the next feed beside the one before."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = Asked(form.get("user", ""), form.get("surface", "home"), form.get("subject", ""), form.get("query", ""))
        action, pin_id, before = form.get("action", ""), form.get("pin", ""), form.get("request_id", "")
        await self._backend.act(asked.user, action, pin_id, before, asked.surface)
        raise web.HTTPSeeOther(_wall(asked, done=f"{action} {pin_id}", before=before))

    async def explain(self, request: web.Request) -> web.Response:
        """Everything that is known of one feed."""
        pins = [each for each in request.query.get("why_not", "").replace(",", " ").split() if each]
        why = await self._backend.explain(request.match_info["request_id"], pins)
        titles = await self._backend.titles([item.pin_id for item in [*why.items, *why.why_not]])
        lines = views.frontier(await self._backend.frontier(why))
        return _render(
            "explain.html",
            why=why,
            titles={pin_id: pin.get("title") or pin_id for pin_id, pin in titles.items()},
            funnel=views.funnel(why),
            lines=lines,
            chart=(views.CHART_WIDTH, views.CHART_HEIGHT, views.MARGIN),
            why_not=" ".join(pins),
        )

    async def trace(self, request: web.Request) -> web.Response:
        """A trace and what links join to it."""
        found = await self._backend.trace(request.match_info["trace_id"])
        return _render("trace.html", waterfalls=views.waterfalls(found))


def _wall(asked: Asked, **more: str) -> str:
    named = {"user": asked.user, "surface": asked.surface, "subject": asked.subject, "query": asked.query, **more}
    return "/?" + urlencode({name: value for name, value in named.items() if value})


@web.middleware
async def _errors_as_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except CorkboardError as error:
        response = _render("error.html", error=error, status=HTTP_STATUS.get(error.status, 503))
    except web.HTTPException as answer:
        answer.headers.update(SECURITY_HEADERS)
        raise
    response.headers.update(SECURITY_HEADERS)
    return response


@web.middleware
async def _same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Another site must not publish in a person's name through their browser."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and origin != f"{request.scheme}://{request.host}":
        raise web.HTTPForbidden(text="this page takes forms of its own only")
    return await handler(request)


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
)


def _render(template: str, *, status: int = 200, **values: Any) -> web.Response:
    text = _environment.get_template(template).render(actions=ACTIONS, status=status, **values)
    return web.Response(text=text, status=status, content_type="text/html")
