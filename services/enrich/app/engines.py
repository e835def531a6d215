"""The engines of the definitions in use; new definitions get new engines, batches in hand keep theirs."""

from dataclasses import dataclass
from pathlib import Path

from chassis.bundles.release import Release
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.active import PART
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check
from sequences.engine.engine import MAX_CONCURRENCY, Engine
from sequences.engine.lookup import CachedLookup
from sequences.engine.observer import Observer
from sequences.engine.plan import plan_for

RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class EnginePair:
    """What one version of the definitions runs on."""

    version: str
    events: Engine
    pins: Engine


class Engines:
    """Not ready until the first bundle is known."""

    def __init__(
        self, lookup: CachedLookup, observer: Observer, health: Health, max_concurrency: int = MAX_CONCURRENCY
    ) -> None:
        self._lookup = lookup
        self._observer = observer
        self._health = health
        self._max_concurrency = max_concurrency
        self._current: EnginePair | None = None
        health.set(PART, False, "no bundle of definitions yet")

    @property
    def current(self) -> EnginePair:
        """Raises: Unavailable before the first bundle."""
        if self._current is None:
            raise Unavailable(
                "no definitions have been released yet", reason="no_definitions", retry_after_s=RETRY_AFTER_S
            )
        return self._current

    def apply(self, release: Release, path: Path) -> None:  # noqa: ARG002 - the shape a BundleWatcher calls
        """Load an opened bundle and use it. Raises: Corrupt, Invalid; the old engines then stay."""
        self.use(bundle.load(path))

    def use(self, definitions: Definitions) -> None:
        """Build both engines, then swap. Raises: Invalid."""
        check(definitions)
        self._current = EnginePair(
            definitions.version,
            *(
                Engine(
                    plan_for(definitions, subject),
                    self._lookup,
                    observer=self._observer,
                    max_concurrency=self._max_concurrency,
                )
                for subject in ("event", "pin")
            ),
        )
        self._health.set(PART, True)
