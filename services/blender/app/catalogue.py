"""The definitions in use: one reference, swapped when a new bundle is released."""

from pathlib import Path

from chassis.bundles import Release
from chassis.errors import Unavailable
from chassis.health import Health
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions

HEALTH_PART = "definitions"


class Catalogue:
    """Surfaces and spacing classes; not ready until a first bundle was read."""

    def __init__(self, health: Health, definitions: Definitions | None = None) -> None:
        self._health = health
        self._definitions = definitions
        health.set(HEALTH_PART, definitions is not None, "" if definitions else "no definitions released yet")

    @property
    def current(self) -> Definitions:
        """Raises: Unavailable before the first bundle."""
        if self._definitions is None:
            raise Unavailable("no definitions were released yet", reason="no_definitions")
        return self._definitions

    @property
    def open_surface(self) -> str:
        """The strictest surface that needs neither subject nor query, as any may be served its pins.

        Raises: Unavailable before the first bundle.
        """
        surfaces = self.current.surfaces
        free = [name for name, each in sorted(surfaces.items()) if not (each.needs_subject or each.needs_query)]
        return max(free, key=lambda name: len(surfaces[name].excluded_labels)) if free else min(surfaces, default="")

    def apply(self, release: Release, directory: Path) -> None:  # noqa: ARG002 - the content has its own version
        """Use the definitions of an opened bundle. Raises: Corrupt; the ones in use stay."""
        self._definitions = bundle.load(directory)
        self._health.set(HEALTH_PART, True)
