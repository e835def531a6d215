"""The definitions a process works with now; a new bundle replaces them while it runs."""

from pathlib import Path

from chassis.bundles.release import Release
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check

PART = "definitions"
RETRY_AFTER_S = 1.0
SETTLE_S = 1.0  # whoever reads behind the door swaps within tens of milliseconds of the announcement


class ActiveDefinitions:
    """For a door: new event types are let in last, when those behind it know them. Not ready before a first bundle."""

    def __init__(self, health: Health, initial: Definitions | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._health = health
        self._clock = clock
        self._current: Definitions | None = None
        health.set(PART, False, "no bundle of definitions yet")
        if initial is not None:
            self._use(initial)

    @property
    def current(self) -> Definitions:
        """What to work with. Raises: Unavailable before the first bundle."""
        if self._current is None:
            raise Unavailable(
                "no definitions have been released yet", reason="no_definitions", retry_after_s=RETRY_AFTER_S
            )
        return self._current

    async def apply(self, release: Release, path: Path) -> None:  # noqa: ARG002 - the shape a BundleWatcher calls
        """Load and check an opened bundle, then use it; one that lets in more, after a moment.

        Raises: Corrupt, Invalid; the old definitions then stay.
        """
        definitions = bundle.load(path)
        check(definitions)
        if self._current is not None and _lets_in_more(self._current, definitions):
            await self._clock.sleep(SETTLE_S)
        self._use(definitions)

    def _use(self, definitions: Definitions) -> None:
        self._current = definitions
        self._health.set(PART, True)


def _lets_in_more(old: Definitions, new: Definitions) -> bool:
    return any(old.events.get(name) != event for name, event in new.events.items())
