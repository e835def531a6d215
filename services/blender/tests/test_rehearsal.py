"""The first feeds of a process are made before anybody may ask for one, and leave nothing behind."""

import time
from pathlib import Path

from chassis.errors import Unavailable
from chassis.health import Health
from protos.topics import FEEDS_SERVED
from services.blender.app.catalogue import Catalogue
from services.blender.app.rehearsal import MAX_FEEDS, WITHIN_S, Rehearsal
from services.blender.tests.running_blender import RunningBlender, running_blender


def rehearsal_of(blender: RunningBlender) -> Rehearsal:
    return next(part for part in blender.service._parts if isinstance(part, Rehearsal))


async def test_a_process_that_is_ready_has_made_feeds_that_nobody_got(blender: RunningBlender) -> None:
    assert 1 <= len(rehearsal_of(blender).took_ms) <= MAX_FEEDS
    assert blender.bus.records(FEEDS_SERVED) == []


async def test_peers_that_hang_delay_a_start_by_seconds_and_never_fail_it(tmp_path: Path) -> None:
    started_s = time.monotonic()
    async with running_blender(tmp_path, cg_mood="hang") as blender:
        assert time.monotonic() - started_s < WITHIN_S + 5.0
        blender.peers.cg.mood = "ok"
        assert (await blender.feed()).items


async def test_without_definitions_there_is_nothing_to_rehearse() -> None:
    class NeverAsked:
        async def __call__(self, *_: object) -> None:
            raise AssertionError("a feed without definitions")

    rehearsal = Rehearsal(NeverAsked(), Catalogue(Health()))  # type: ignore[arg-type]
    try:
        await rehearsal.start(None)  # type: ignore[arg-type]
    except Unavailable:
        raise AssertionError("a rehearsal must not fail a start") from None
    assert list(rehearsal.took_ms) == []
