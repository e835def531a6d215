"""Puts released bundles into the catalogue of generators."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from chassis.bundles import Release
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.pin_index import PinIndex
from services.cg.ports import Generator, HistoryEncoder

Read = Callable[[Path, str], Generator]  # bundle directory and version -> generator; raises Corrupt


class ReleasedModels:
    """Loads a bundle beside the one in use, shows it the pins, then replaces one reference."""

    def __init__(self, index: PinIndex, catalogue: Catalogue, read_by_name: Mapping[str, Read]) -> None:
        self._index = index
        self._catalogue = catalogue
        self._read_by_name = read_by_name

    async def apply(self, release: Release, path: Path) -> None:
        """Raises: Corrupt when the bundle cannot be used; the one in use stays."""
        generator = await asyncio.to_thread(self._read_by_name[release.name], path, release.version)
        await asyncio.to_thread(generator.warm, self._index.snapshot())
        self._catalogue.put(release.name, generator.generate, release.version, generator.warm)
        if isinstance(generator, HistoryEncoder):
            self._catalogue.put_encoder(release.name, release.version, generator.encode_history)
