"""The compiled loop is there when asked for, and its absence is told."""

import sys
from pathlib import Path

import pytest

from chassis.errors import Invalid
from services.blender.app.slate_loop import SlateLoop
from services.blender.domain.greedy import greedy
from services.blender.tests.running_blender import running_blender


async def test_a_feed_from_the_compiled_loop(tmp_path: Path) -> None:
    async with running_blender(tmp_path / "a", compiled_slate=True) as compiled:
        found = [item.pin_id for item in (await compiled.feed()).items]
    async with running_blender(tmp_path / "b") as plain:
        assert found == [item.pin_id for item in (await plain.feed()).items]


async def test_without_numba_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.blender.domain.slate_compiled", None)
    slates = SlateLoop(is_compiled=True)
    with pytest.raises(Invalid, match="numba") as caught:
        await slates.start(None)  # type: ignore[arg-type]
    assert caught.value.field == "compiled_slate"
    assert slates.loop is greedy
