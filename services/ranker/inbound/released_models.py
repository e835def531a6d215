"""Takes released ranker bundles at the leaf, which hosts them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from chassis.bundles import Release
from services.ranker.app.score import HostedModels
from services.ranker.domain.hosted_model import HostedModel

Read = Callable[[Path, str], HostedModel]  # bundle directory and version -> model; raises Corrupt


class HostReleases:
    """Loads a bundle beside the one in use, runs its golden request, then replaces one reference."""

    def __init__(self, models: HostedModels, read: Read) -> None:
        self._models = models
        self._read = read

    async def apply(self, release: Release, path: Path) -> None:
        """Raises: Corrupt when the bundle cannot be used; the one in use stays."""
        self._models.put(release.name, await asyncio.to_thread(self._read, path, release.version))
