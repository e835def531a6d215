"""What the ranker said and what people did meet in a running house: the live metric counts each shown pin and each
action once, and the command line says the same."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from corkboard import feed_client
from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import event, feed_request, get_feed, publish

WINDOW_S = 6
NUM_FEEDS = 20
PREFIX = "ranker_reliability_"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180, func_only=True)]


@contextlib.contextmanager
def lake_with_a_short_window(house: House) -> Iterator[None]:
    """The house's lake role with a window of seconds, in place of its own."""
    environment = psutil.Process(house.pid("indexer-lake")).environ()
    house.stop("indexer-lake")
    settings = {"INDEXER_RELIABILITY_INTERVAL_S": "1", "INDEXER_RELIABILITY_WINDOW_S": str(WINDOW_S)}
    settings |= {"INDEXER_LAKE_COMMIT_INTERVAL_S": "1"}
    process = subprocess.Popen([sys.executable, "-m", "services.indexer"], env=environment | settings)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30.0)
        house.start("indexer-lake")
        house.wait_ready("indexer-lake")


def metrics(house: House) -> dict[str, Any]:
    """`until` in seconds, and of home `examples`, `expected`, `observed` by head."""
    found: dict[str, Any] = {name: Counter() for name in ("examples", "expected", "observed")} | {"until": 0.0}
    url = f"http://127.0.0.1:{house.endpoints.ports.admin('indexer-lake')}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:  # ours
            text = answer.read().decode()
    except OSError:
        return found
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX).removesuffix("_total")
            if sample.name == f"{PREFIX}until_seconds":
                found["until"] = sample.value
            elif sample.labels.get("surface") == "home" and name in found:
                found[name][sample.labels["head"]] += sample.value
    return found


async def counted_until(session: Session, house: House, time_s: float) -> dict[str, Any]:
    """The metrics once all is counted that was served before `time_s`. By what comes in on search time goes on."""
    now: dict[str, Any] = {}

    async def is_over() -> bool:
        nonlocal now
        await get_feed(session, feed_request("person-00058", surface="search", query="garden"))
        await publish(session, [event("person-00058", "save", "pin-000002", surface="search")])
        now = await asyncio.to_thread(metrics, house)
        return bool(now["until"] > time_s)

    await eventually(is_over, 90.0, every_s=0.5)
    return now


def test_each_shown_pin_and_each_action_counts_once(house: House, tmp_path: Path) -> None:
    said: Counter[str] = Counter()
    num_shown = num_clicks = 0

    async def ask_and_act(session: Session, user: str) -> None:
        nonlocal num_shown, num_clicks
        feed = await get_feed(session, feed_request(user))
        scored: list[Any] = []

        async def is_explained() -> bool:
            scored[:] = (await feed_client.explain(session, feed.request_id, ())).items
            return True

        await eventually(is_explained, 5.0)
        scored = [item for item in scored if item.score_by_head]
        for item in scored:
            said.update(dict(item.score_by_head))
        acts = [event(user, "click", item.pin_id, request_id=feed.request_id) for item in scored[:4]]
        await publish(session, [*acts, *acts])  # twice the same ids: one click each
        num_shown, num_clicks = num_shown + len(scored), num_clicks + len(acts)

    async def work(session: Session) -> None:
        before = await counted_until(session, house, time.time())
        for number in range(NUM_FEEDS):
            await ask_and_act(session, f"person-{number:05d}")
        after = await counted_until(session, house, time.time())
        found = {name: after[name]["click"] - before[name]["click"] for name in ("examples", "expected", "observed")}
        assert num_shown > 5 * NUM_FEEDS, "hardly a feed was ranked"
        assert (found["examples"], found["observed"]) == (num_shown, num_clicks)
        assert found["expected"] == pytest.approx(said["click"], rel=1e-4)

    with lake_with_a_short_window(house):
        house.run(work)
    picture = tmp_path / "reliability.png"
    told = ("evaluate", "reliability", "--window-s", str(WINDOW_S), "--hours", "1", "--picture", str(picture), "--json")
    report = json.loads(house.command(*told))
    assert picture.read_bytes().startswith(b"\x89PNG")
    home = report["heads"]["home/click"]
    assert home["observed"] >= num_clicks and home["num_examples"] >= num_shown
    assert home["observed_over_expected"] == pytest.approx(home["observed"] / home["expected"])
    assert set(report["models"]), "which version scored"
