"""The slate of one page: the same function for a live feed and for its replay."""

from collections.abc import Sequence

import numpy as np

from sequences.definitions.spacing_class import SpacingClass
from sequences.definitions.surface import Surface
from services.blender.domain.diversity.strategies import DiversityPlan
from services.blender.domain.greedy import Greedy, greedy
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.similarity import similarity
from services.blender.domain.slate import Slate, fill
from services.blender.domain.spacing_rules import rules_for


def page_slate(
    scores: dict[str, float],
    features: PinFeatures,
    surface: Surface,
    spacing: Sequence[SpacingClass],
    num_slots: int,
    *,
    tail: Sequence[str] = (),
    position: int = 0,
    loop: Greedy = greedy,
) -> Slate:
    """Picks among the pins that have scores; `tail` are the pins placed before `position`, oldest first."""
    pin_ids = list(scores)
    known_tail = [pin_id for pin_id in tail if pin_id in features.row_by_pin]
    return fill(
        np.fromiter(scores.values(), dtype=np.float64, count=len(scores)),
        similarity(surface.diversity_signals, features, [*pin_ids, *known_tail]),
        DiversityPlan(surface.diversity_strategy, surface.diversity_weight, surface.diversity_window),
        rules_for(spacing, features, pin_ids, known_tail, position),
        num_slots,
        loop=loop,
    )
