"""The quota pages over a real quota service: the tree, use against limit, history; nothing that was typed is run."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from grpc import aio

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.grpc.server import GrpcDoor
from chassis.grpc.status import from_rpc_error
from chassis.protection import Rule, UsageWindow
from chassis.protection.rule import CAPACITY
from chassis.testing import InMemoryBus
from corkboard.page import quota_views as views
from corkboard.page.app import make_app
from corkboard.page.quota_backend import QuotaBackend, RuleStory
from protos.quota.v1 import quota_pb2 as pb
from services.quota.config import Config
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.wiring import Ledger, build, open_ledger

MINUTE_MS = 60_000
KEY = "surface/blender/GetFeed/*"


class ToOne:
    """Session: every call goes to one quota service, which can be away."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self.is_away = False

    async def call(
        self, service: str, stub: Callable[..., Any], method: str, request: Any, timeout_s: float = 10.0
    ) -> Any:
        if self.is_away or service != "quota":
            raise Unavailable("planted")
        try:
            return await getattr(stub(self._channel), method)(request, timeout=timeout_s)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


class Page:
    """The page in a test, and the ledger behind it."""

    def __init__(self, client: "TestClient[web.Request, web.Application]", ledger: Ledger, session: ToOne) -> None:
        self._client, self.ledger, self.session = client, ledger, session

    async def get(self, path: str) -> tuple[int, str]:
        response = await self._client.get(path)
        return response.status, await response.text()

    async def put(self, rule: Rule, state: RuleState = RuleState.PUBLISHED, why: str = "because") -> None:
        now_ms = time.time_ns() // 1_000_000
        version = RuleVersion(rule, state, now_ms, "ann", why, "ann")
        await self.ledger.rules.write([AuditRecord(Step("publish", "ann", why, now_ms), None, version)])

    async def use(self, key: str, minutes: int, admitted: float, refused: float = 0.0) -> None:
        now_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
        windows = [
            UsageWindow(key, now_ms - n * MINUTE_MS, MINUTE_MS, admitted, refused, 0, 1, "blender", "one", "az-a")
            for n in range(1, minutes + 1)
        ]
        await self.ledger.usage.add_usage(windows)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    ledger = open_ledger(str(tmp_path / "quota.sqlite"))
    config = Config(grpc_port=0, admin_port=0, state_dir=str(tmp_path), drain_s=0.1)
    service = build(config, bus=InMemoryBus(), ledger=ledger)
    async with service:
        (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
        async with aio.insecure_channel(door.address) as channel:
            session: Any = ToOne(channel)
            nothing: Any = None
            async with TestClient(TestServer(make_app(nothing, QuotaBackend(session)))) as client:
                yield Page(client, ledger, session)
    await ledger.database.stop(Deadline.after(1.0))


def rule(key: str = KEY, limit: float = 10.0, **fields: Any) -> Rule:
    return Rule(key, limit, owner="feed", version=1, **fields)


async def test_tree_shows_rules_under_their_levels_with_use_and_what_waits(page: Page) -> None:
    await page.put(rule(limit=10.0, is_shadow=True))
    await page.put(Rule(KEY, 12.0, owner="feed", version=2), RuleState.DRAFT)
    await page.put(rule("surface", 100.0, is_global=True, safe_share=0.5))
    await page.use(KEY, 30, 60.0 * 9, refused=3.0)
    status, text = await page.get("/quota")
    assert status == 200
    assert text.index('data-rule="surface"') < text.index(f'data-rule="{KEY}"')
    assert ">blender/GetFeed/*</a>" in text, "below surface, so without it"
    assert "90%" in text and 'class="meter near"' in text
    assert '<td class="n hot">90</td>' in text
    for words in ("shadow", "global", "version 2 is draft", "100 requests / 1 s", "unused"):
        assert words in text


async def test_one_rule_shows_its_use_its_users_and_its_history(page: Page) -> None:
    await page.put(rule(limit=8.0, full_limit=10.0), why="over budget & more")
    await page.use(KEY, 30, 60.0 * 4, refused=60.0)
    for span in ("1h", "7d", "nonsense"):
        status, text = await page.get(f"/quota/rule/surface/blender/GetFeed/%2A?span={span}")
        assert status == 200
        assert "over budget &amp; more" in text
        assert "cut from 10" in text and "before the cut" in text
        assert '<td class="n">7,200</td><td class="n hot">1,800</td>' in text
    assert (await page.get("/quota/rule/no/such"))[0] == 404


async def test_capacity_is_shown_with_what_nobody_knows_left_out(page: Page) -> None:
    await page.put(rule("capacity/requests.cpu/az-a/feed", 4.0, unit="cores", kind=CAPACITY))
    _, text = await page.get("/quota")
    assert "<td>az-a</td><td>feed</td>" in text and ">requests.cpu</a>" in text
    assert "4 cores" in text


async def test_nothing_yet_says_how_to_begin_and_a_service_that_is_away_says_so(page: Page) -> None:
    assert "corkboard quota create" in (await page.get("/quota"))[1]
    page.session.is_away = True
    status, text = await page.get("/quota")
    assert status == 503
    assert "planted" in text


async def test_what_was_typed_is_shown_and_not_run(page: Page) -> None:
    await page.put(rule("a/<b>x</b>", unit="requests"), why='<script>alert("x")</script>')
    for path in ("/quota", "/quota/rule/a/%3Cb%3Ex%3C/b%3E"):
        _, text = await page.get(path)
        assert "<script" not in text and "<b>x" not in text


def story(*windows: pb.UsageWindow) -> RuleStory:
    return RuleStory("a", [], windows, 0, 60 * MINUTE_MS, [])


def test_chart_reaches_to_the_limit_or_to_the_use_whatever_is_more() -> None:
    limited = pb.Rule(limit=10.0, period_s=1.0, unit="requests", is_global=True)
    used = pb.UsageWindow(key="a", window_start_ms=30 * MINUTE_MS, admitted=600.0, refused=600.0)
    drawn = views.chart(story(used), limited)
    assert drawn.top == "22 requests / 1 s"
    assert drawn.limit_y == pytest.approx(120.0)
    empty = views.chart(story(), limited)
    assert (empty.top, empty.is_empty) == ("11 requests / 1 s", True)


def test_unsound_draft_can_be_looked_at() -> None:
    for limit in (0.0, -1.0, float("nan"), float("inf")):
        drawn = views.chart(story(), pb.Rule(limit=limit, period_s=0.0, unit="?"))
        assert "nan" not in drawn.admitted


def test_meter_is_full_at_the_limit() -> None:
    assert [views.meter(share, "").level for share in (0.0, 0.79, 0.8, 1.0, 9.0)] == [
        "calm",
        "calm",
        "near",
        "full",
        "full",
    ]
    assert views.meter(9.0, "").percent == 100.0
