"""The definitions a process works with now; a new bundle replaces them while it runs."""

from pathlib import Path

from chassis.bundles.release import Release
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check

PART = "definitions"
RETRY_AFTER_S = 1.0


class ActiveDefinitions:
    """Not ready until the first bundle is known."""

    def __init__(self, health: Health, initial: Definitions | None = None) -> None:
        self._health = health
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

    def apply(self, release: Release, path: Path) -> None:  # noqa: ARG002 - the shape a BundleWatcher calls
        """Load and check an opened bundle, then use it. Raises: Corrupt, Invalid; the old definitions then stay."""
        definitions = bundle.load(path)
        check(definitions)
        self._use(definitions)

    def _use(self, definitions: Definitions) -> None:
        self._current = definitions
        self._health.set(PART, True)
