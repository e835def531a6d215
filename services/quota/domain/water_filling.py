"""Fits what rules should have into what their owner may have."""

from collections.abc import Sequence
from dataclasses import dataclass

WEIGHT = {1: 4.0, 2: 2.0, 3: 1.0}  # by tier, when there is not enough
ENOUGH = 1e-12


@dataclass(frozen=True)
class Want:
    """Rates in units per second: `floor` is given first, `target` at most."""

    key: str
    floor: float
    target: float
    tier: int


def fill(wants: Sequence[Want], capacity: float) -> dict[str, float]:
    """A rate per key: floors first, the rest by target * weight of the tier, nobody above their target.

    They sum up to `capacity` at most, unless the floors alone are more: then everybody has their floor.
    """
    if sum(max(want.floor, want.target) for want in wants) <= capacity:
        return {want.key: max(want.floor, want.target) for want in wants}
    rates = {want.key: want.floor for want in wants}
    left = max(0.0, capacity - sum(rates.values()))
    thirsty = [want for want in wants if want.target > want.floor]
    while thirsty and left > ENOUGH * capacity:
        per_weight = left / sum(want.target * WEIGHT[want.tier] for want in thirsty)
        full = [
            want for want in thirsty if rates[want.key] + per_weight * want.target * WEIGHT[want.tier] >= want.target
        ]
        for want in full or thirsty:
            rates[want.key] = want.target if full else rates[want.key] + per_weight * want.target * WEIGHT[want.tier]
        left = max(0.0, capacity - sum(rates.values())) if full else 0.0
        thirsty = [want for want in thirsty if want not in full]
    return rates
