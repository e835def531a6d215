"""Which way is faster for a request of this size: two passes, or one packed masked sequence.

Each way costs a fixed time per block (calls, reading the weights) and a time per floating-point operation. Both numbers
come from timings on the machine at hand; `measure` takes them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modeling.dcat import flops
from modeling.dcat.flops import Size


@dataclass(frozen=True)
class Cost:
    """Seconds of one way."""

    per_layer_s: float
    per_flop_s: float

    def seconds(self, num_layers: int, num_flops: float) -> float:
        return num_layers * self.per_layer_s + self.per_flop_s * num_flops


@dataclass(frozen=True)
class CostModel:
    """Predicts both ways and names the cheaper one."""

    two_passes: Cost
    packed: Cost

    def prefers_packed(self, size: Size, num_users: int = 1) -> bool:
        """Whether one packed sequence is predicted to be faster for `num_users` requests of this size."""
        two_s = self.two_passes.seconds(size.num_layers, num_users * flops.two_passes(size))
        return self.packed.seconds(size.num_layers, num_users * flops.packed(size)) < two_s


@dataclass(frozen=True)
class Timing:
    """One measured request."""

    size: Size
    two_passes_s: float
    packed_s: float


# One core of an AMD EPYC (Zen 4), fp32, width 256, from bench/results/dcat.json. The time per block is mostly reading
# the weights, twice for two passes: `measure` and `fit` anew for another width or machine.
DEFAULT = CostModel(Cost(per_layer_s=1.1e-3, per_flop_s=1.29e-11), Cost(per_layer_s=5.9e-4, per_flop_s=1.23e-11))


def fit(timings: Sequence[Timing]) -> CostModel:
    """Least squares of relative errors, neither number below zero. Raises: ValueError with fewer than two sizes."""
    if len({timing.size for timing in timings}) < 2:
        raise ValueError(
            f"{len(timings)} timings of one size cannot tell calls from arithmetic; time two sizes or more"
        )
    two = [(t.size.num_layers, flops.two_passes(t.size), t.two_passes_s) for t in timings]
    packed = [(t.size.num_layers, flops.packed(t.size), t.packed_s) for t in timings]
    return CostModel(_fit(two), _fit(packed))


def _fit(rows: Sequence[tuple[int, float, float]]) -> Cost:
    """Seconds ≈ a · layers + b · flops; rows are divided by their seconds, so that each counts the same."""
    xx = sum((layers / s) ** 2 for layers, _, s in rows)
    yy = sum((work / s) ** 2 for _, work, s in rows)
    xy = sum(layers * work / s**2 for layers, work, s in rows)
    x, y = sum(layers / s for layers, _, s in rows), sum(work / s for _, work, s in rows)
    determinant = xx * yy - xy * xy
    per_layer_s, per_flop_s = (yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant
    if per_layer_s < 0:
        return Cost(0.0, y / yy)
    return Cost(x / xx, 0.0) if per_flop_s < 0 else Cost(per_layer_s, per_flop_s)


def measure(
    sizes: Sequence[Size],
    runs_of: Callable[[Size], tuple[Callable[[], object], Callable[[], object]]],
    num_rounds: int = 5,
    now_s: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time both ways in turns; `runs_of` gives the two of a size, two passes first. The fastest round counts."""
    timings = []
    for size in sizes:
        runs = runs_of(size)
        best_s = [float("inf")] * 2
        for _ in range(num_rounds + 1):  # the first fills caches
            for way, run in enumerate(runs):
                start_s = now_s()
                run()
                best_s[way] = min(best_s[way], now_s() - start_s)
        timings.append(Timing(size, *best_s))
    return timings
