"""Plans a load before it starts: when each call is meant to be sent, by whom, of which kind. Same seed, same plan."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chassis.errors import Invalid

ARRIVALS = ("poisson", "constant")
KINDS = ("feed", "events")


@dataclass(frozen=True)
class Phase:
    """`calls_per_s` for `duration_s`; phases follow one another."""

    calls_per_s: float
    duration_s: float


@dataclass(frozen=True)
class Call:
    """One call to send `at_s` seconds after the start, whatever came of the ones before."""

    number: int
    at_s: float
    kind: str
    user: int


def parse_mix(text: str) -> Mapping[str, float]:
    """`"feed=3,events=1"` → the share of each kind, in sum 1. Raises: Invalid."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        kind, _, weight = part.partition("=")
        try:
            weights[kind.strip()] = float(weight or 1)
        except ValueError:
            raise Invalid(f"mix: {weight!r} is no weight; write feed=3,events=1", field="mix") from None
    unknown = sorted(set(weights) - set(KINDS))
    total = sum(weights.values())
    if unknown or min(weights.values()) < 0 or not total > 0:
        raise Invalid(f"mix {text!r}: give weights of {' and '.join(KINDS)}, such as feed=3,events=1", field="mix")
    return {kind: weight / total for kind, weight in weights.items()}


def plan_calls(
    phases: Sequence[Phase], mix: Mapping[str, float], num_users: int, seed: int, arrivals: str = "poisson"
) -> list[Call]:
    """All calls in the order of their times; users are drawn uniformly from `num_users`.

    Raises: Invalid for unknown arrivals or a rate or duration that is not positive.
    """
    if arrivals not in ARRIVALS:
        raise Invalid(f"arrivals {arrivals!r}: there are {', '.join(ARRIVALS)}", field="arrivals")
    if any(phase.calls_per_s <= 0 or phase.duration_s <= 0 for phase in phases):
        raise Invalid("a load needs a rate and a duration above 0", field="rate")
    # One generator per question: another mix does not move the arrivals.
    chance = {name: random.Random(f"{seed} {name}") for name in ("gap", "kind", "user")}
    kinds, weights = list(mix), list(mix.values())
    return [
        Call(number, at_s, chance["kind"].choices(kinds, weights)[0], chance["user"].randrange(num_users))
        for number, at_s in enumerate(_times(phases, chance["gap"], arrivals))
    ]


def _times(phases: Sequence[Phase], gaps: random.Random, arrivals: str) -> Iterator[float]:
    start_s = 0.0
    for phase in phases:
        at_s = gaps.expovariate(phase.calls_per_s) if arrivals == "poisson" else 0.0
        while at_s < phase.duration_s:
            yield start_s + at_s
            at_s += gaps.expovariate(phase.calls_per_s) if arrivals == "poisson" else 1 / phase.calls_per_s
        start_s += phase.duration_s
