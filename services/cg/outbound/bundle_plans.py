"""Surface plans from the released definitions; a built-in plan until the first release."""

from collections.abc import Mapping
from pathlib import Path

from chassis.bundles import Release
from chassis.errors import NotFound
from sequences.definitions import bundle
from services.cg.domain.retrieval import SurfacePlan

DEFAULT_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "home": {"two_tower": 1.0, "co_engaged": 1.0, "fresh": 0.2, "popular": 0.2},
    "related": {"related": 1.0, "co_engaged": 0.5, "popular": 0.1},
    "search": {"two_tower": 1.0, "popular": 0.5},
}


class DefinitionPlans:
    """Weights per surface; replaced as a whole when definitions are released."""

    def __init__(self) -> None:
        self._weights = DEFAULT_WEIGHTS
        self._excluded_labels: Mapping[str, frozenset[str]] = {}
        self._types_by_sequence: Mapping[str, frozenset[str]] = {}

    def plan(self, surface: str) -> SurfacePlan:
        """Raises: NotFound for a surface the definitions do not have."""
        weights = self._weights.get(surface)
        if weights is None:
            raise NotFound(
                f"surface {surface!r} is not defined, defined are {', '.join(sorted(self._weights))}", field="surface"
            )
        return SurfacePlan(surface, weights, self._excluded_labels.get(surface, frozenset()))

    def event_types(self, sequence: str) -> frozenset[str]:
        """Types of the events in a sequence; empty while no released definitions say so."""
        return self._types_by_sequence.get(sequence, frozenset())

    def apply(self, release: Release, path: Path) -> None:  # noqa: ARG002 - the content says its own version
        """Take the surfaces of a released bundle. Raises: Corrupt."""
        definitions = bundle.load(path)
        surfaces, sequences = definitions.surfaces, definitions.sequences
        self._types_by_sequence = {name: frozenset(each.event_types) for name, each in sequences.items()}
        self._excluded_labels = {name: frozenset(each.excluded_labels) for name, each in surfaces.items()}
        self._weights = {
            name: {share.name: share.weight for share in surface.generators} for name, surface in surfaces.items()
        }
