"""Remembers which pins a feed showed to whom."""

from collections.abc import Sequence
from dataclasses import replace

from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.domain.users import PinServing
from services.indexer.ports import UserStore


class IndexFeeds:
    """Idempotent: the newest time of a pin stays."""

    def __init__(self, definitions: ActiveDefinitions, store: UserStore) -> None:
        self._definitions = definitions
        self._store = store

    async def __call__(self, servings: Sequence[PinServing]) -> None:
        """Raises: Unavailable."""
        surfaces = self._definitions.current.surfaces
        windows = {name: surface.seen_window_s for name, surface in surfaces.items()}
        await self._store.mark_served(
            [replace(each, window_s=windows[each.surface]) for each in servings if each.surface in windows]
        )
