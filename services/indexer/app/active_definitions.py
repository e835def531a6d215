"""The definitions in use, swapped as one reference."""

import asyncio
from pathlib import Path

import pyarrow as pa

from chassis.bundles import Release
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check
from services.indexer.domain.quality import rows_by, versions_of
from services.indexer.domain.routing import Routing

PART = "definitions"
CATCH_UP_S = 2.0  # a roll-out reaches every process within a second


class ActiveDefinitions:
    """Not ready before the first bundle."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._routing: Routing | None = None
        self._known: set[str] = set()
        self._swapped = asyncio.Event()
        health.set(PART, False, "no definitions bundle yet")

    async def apply(self, release: Release, directory: Path) -> None:  # noqa: ARG002 - the content has the version
        """Load and check beside the old ones, then swap. Raises: Corrupt, Invalid; the old ones then stay."""
        definitions = await asyncio.to_thread(bundle.load, directory)
        check(definitions)
        self.use(definitions)

    def use(self, definitions: Definitions) -> None:
        """Swap to these."""
        self._routing = Routing(definitions)
        self._known.add(definitions.version)
        self._swapped.set()
        self._swapped = asyncio.Event()
        self._health.set(PART, True)

    async def catch_up(self, envelope: pa.RecordBatch) -> None:
        """Wait a little when events of an unknown type were enriched by definitions never seen here.

        In a roll-out this process may be the last, and the events would find no sequence. Old versions never come, so
        each is waited for once.
        """
        if not set(rows_by(envelope.column("event_type"))) - self.current.events.keys():
            return
        for version in versions_of(envelope).keys() - self._known:
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    while version not in self._known:
                        await self._swapped.wait()
            except TimeoutError:
                self._known.add(version)

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
