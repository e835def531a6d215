"""Utility weights from the released definitions."""

from collections.abc import Mapping
from pathlib import Path

from chassis.bundles import Release
from sequences.definitions import bundle
from services.ranker.domain.utility import DEFAULT_WEIGHTS


class DefinitionWeights:
    """Weights per surface; replaced as a whole when definitions are released."""

    def __init__(self) -> None:
        self._weights: Mapping[str, Mapping[str, float]] = {}
        self.version = ""

    def weights(self, surface: str) -> Mapping[str, float]:
        """The surface's own weights, or the built-in ones."""
        return self._weights.get(surface) or DEFAULT_WEIGHTS

    def apply(self, release: Release, path: Path) -> None:
        """Take the surfaces of a released bundle. Raises: Corrupt."""
        surfaces = bundle.load(path).surfaces
        self._weights = {
            name: {str(action): weight for action, weight in surface.utility_weights.items()}
            for name, surface in surfaces.items()
        }
        self.version = release.version
