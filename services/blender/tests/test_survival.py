"""What each generator returned against what of it was delivered."""

import urllib.request
from asyncio import to_thread
from pathlib import Path

from chassis.admin import AdminServer
from chassis.testing import eventually
from services.blender.tests.fake_peers import World
from services.blender.tests.running_blender import RunningBlender, running_blender


async def _totals(blender: RunningBlender, metric: str) -> dict[str, float]:
    """generator -> count on the home surface, as Prometheus reads it."""
    (admin,) = (part for part in blender.service._parts if isinstance(part, AdminServer))
    url = f"http://127.0.0.1:{admin.port}/metrics"
    text = (await to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())).decode()
    lines = [line for line in text.splitlines() if line.startswith(f"blender_{metric}_total{{")]
    found = {}
    for line in lines:
        labels, value = line.rsplit(" ", 1)
        assert 'surface="home"' in labels
        found[labels.split('generator="')[1].split('"')[0]] = float(value)
    return found


async def test_candidates_count_for_all_that_returned_them_and_impressions_for_the_best(tmp_path: Path) -> None:
    async with running_blender(tmp_path, World(num_pins=60, generator="contextual")) as blender:
        first = await blender.feed(page_size=10)
        candidates, impressions = await _totals(blender, "candidates"), await _totals(blender, "impressions")
        assert candidates == {"contextual": 60.0, "popular": 60.0}
        assert impressions == {"contextual": 10.0}
        await blender.feed(page_size=10, page_token=first.next_page_token)
        assert await _totals(blender, "candidates") == candidates, "a later page retrieves nothing"
        assert await _totals(blender, "impressions") == {"contextual": 20.0}


async def test_a_fallback_counts_for_the_generator_it_names_only(tmp_path: Path) -> None:
    async with running_blender(tmp_path, World(num_pins=60, generator="contextual")) as blender:
        await eventually(lambda: any(list(call.generators) for call in blender.peers.cg.calls))
        await blender.feed(page_size=10)
        blender.peers.cg.mood = "refuse"
        response = await blender.feed(user_id="bob", page_size=10)
        assert len(response.items) == 10
        assert (await _totals(blender, "impressions"))["popular"] == 10
        candidates = await _totals(blender, "candidates")
        assert candidates["contextual"] == 60
        assert candidates["popular"] == 120
