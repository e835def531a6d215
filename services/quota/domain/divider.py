"""Divides one limit among those who ask: by demand up to the fair share, the rest by weight."""

# Weighted max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2); what nobody asks for is given as headroom.

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What one client asks: `demand` >= 0 units per second, `weight` > 0."""

    demand: float
    weight: float = 1.0


def divide(limit: float, claims: Mapping[str, Claim]) -> dict[str, float]:
    """A rate per claim; they sum up to `limit` at most, and to all of it when there is a claim.

    A demand under its weighted share is met whole; what is over is shared by weight.
    """
    rates: dict[str, float] = {}
    left, open_claims = limit, dict(claims)
    while open_claims:
        total_weight = sum(claim.weight for claim in open_claims.values())
        met = {
            name: claim.demand
            for name, claim in open_claims.items()
            if claim.demand * total_weight <= left * claim.weight
        }
        if not met:
            rates |= {name: left * claim.weight / total_weight for name, claim in open_claims.items()}
            return rates
        rates |= met
        left = max(0.0, left - sum(met.values()))
        open_claims = {name: claim for name, claim in open_claims.items() if name not in met}
    return _with_headroom(left, rates, claims)


def _with_headroom(left: float, rates: Mapping[str, float], claims: Mapping[str, Claim]) -> dict[str, float]:
    total_weight = sum(claim.weight for claim in claims.values())
    return {name: rate + left * claims[name].weight / total_weight for name, rate in rates.items()}
