"""One running blender for each test that asks for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.blender.tests.running_blender import RunningBlender, running_blender


@pytest.fixture
async def blender(tmp_path: Path) -> AsyncIterator[RunningBlender]:
    """All peers well, 300 pins."""
    async with running_blender(tmp_path) as running:
        yield running
