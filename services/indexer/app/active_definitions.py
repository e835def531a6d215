"""The definitions in use, swapped as one reference."""

import asyncio
from pathlib import Path

from chassis.bundles import Release
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from services.indexer.domain.routing import Routing

PART = "definitions"


class ActiveDefinitions:
    """Not ready before the first bundle."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._routing: Routing | None = None
        health.set(PART, False, "no definitions bundle yet")

    async def apply(self, release: Release, directory: Path) -> None:  # noqa: ARG002 - the content has the version
        """Load beside the old ones, then swap. Raises: Corrupt."""
        self.use(await asyncio.to_thread(bundle.load, directory))

    def use(self, definitions: Definitions) -> None:
        """Swap to these."""
        self._routing = Routing(definitions)
        self._health.set(PART, True)

    @property
    def routing(self) -> Routing:
        """Compiled from the definitions in use. Raises: Unavailable before the first bundle."""
        if self._routing is None:
            raise Unavailable("no definitions bundle yet", reason="no_definitions", retry_after_s=1.0)
        return self._routing

    @property
    def current(self) -> Definitions:
        """The definitions in use. Raises: Unavailable before the first bundle."""
        return self.routing.definitions
