"""The strategies by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from services.blender.domain.diversity.dpp import WindowedDpp
from services.blender.domain.diversity.features import AnyRows, PinRows
from services.blender.domain.diversity.mmr import MarginalRelevance
from services.blender.domain.diversity.port import Diversity
from services.blender.domain.diversity.spectral import SpectralWindow
from services.blender.domain.diversity.ssd import SpectrumWindow
from services.blender.domain.diversity.unknown import WithUnknown

Strategy = Literal["ssd", "ssd_spectral", "dpp", "mmr", "none"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

_WINDOWS: dict[str, Callable[[AnyRows, PinRows, int], Diversity]] = {
    "ssd": SpectrumWindow,
    "ssd_spectral": SpectralWindow,
    "dpp": WindowedDpp,
    "mmr": MarginalRelevance,
}


@dataclass(frozen=True)
class DiversityPlan:
    """`weight` is γ, in standard deviations of relevance; `window` counts slots, the one to fill included."""

    strategy: Strategy = "ssd"
    weight: float = 0.25
    window: int = 8

    @property
    def is_off(self) -> bool:
        """Whether the order is that of relevance and no similarity is ever read."""
        return self.strategy == "none" or self.weight == 0.0 or self.window <= 1

    def over(self, candidates: AnyRows, tail: PinRows) -> Diversity:
        """The strategy over candidates with the best relevance first, after a tail with the oldest first."""
        return WithUnknown(_WINDOWS[self.strategy](candidates, tail, self.window), candidates.self_similarity_M())
