"""The slate step against pyversity, on one thread, interleaved; picks are first proven equal: of ssd to a float64
reference, of the compiled dpp to the plain loop, which tests hold to a reference.

Times are of the thread's CPU: what else runs on the machine does not count.

`ssd` of pyversity is the same algorithm in residual form: θ = 1 - diversity scales both terms, and its vectors carry a
constant 1 without our 1/√2, so at diversity 0.5 it is our γ = √2. Its `dpp` and `mmr` have no window and look at the
whole slate. Picks of the two ssd are compared too: theirs are of float32, so a share of equal picks is reported.
Shapes: N candidates, T picks, D dimensions.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyversity
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from services.blender.domain.diversity.features import of_vectors
from services.blender.domain.diversity.strategies import DiversityPlan, Strategy
from services.blender.domain.greedy import Greedy, greedy
from services.blender.domain.slate import fill
from services.blender.domain.slate_compiled import greedy_compiled
from services.blender.domain.spacing import NOT_A_MEMBER, SpacingRule
from services.blender.tests.slow_reference import ssd_picks

NUM_CANDIDATES, NUM_PICKS, DIMENSIONS, WINDOW = 1_000, 100, 128, 8
GAMMA = 2.0**0.5
ROUNDS = 30
SIZES = (100, 300, 1_000, 3_000, 10_000)
GOALS = {"ssd": 1 / 5, "ssd compiled": 1 / 15, "dpp compiled": 1.0, "spacing": 1.2}

Side = Callable[[], Any]


def measure() -> dict[str, Any]:
    """Medians and ratios of interleaved rounds; how the cost grows with N."""
    with threadpool_limits(limits=1):
        relevance_N, vectors_ND = _world(NUM_CANDIDATES)
        equal = _prove_equal(relevance_N, vectors_ND)
        sides = _sides(relevance_N, vectors_ND)
        milliseconds = _interleaved(sides)
        growth = {str(num): _growth(num) for num in SIZES}
    median = {name: round(statistics.median(values), 3) for name, values in milliseconds.items()}
    ratios = {
        "ssd": _ratio(milliseconds, "ssd", "pyversity ssd"),
        "ssd compiled": _ratio(milliseconds, "ssd compiled", "pyversity ssd"),
        "dpp compiled": _ratio(milliseconds, "dpp compiled", "pyversity dpp"),
        "spacing": _ratio(milliseconds, "ssd with spacing", "ssd"),
    }
    return {
        "sizes": {"candidates": NUM_CANDIDATES, "picks": NUM_PICKS, "dimensions": DIMENSIONS, "window": WINDOW},
        "equal": equal,
        "median_ms": median,
        "ms_by_candidates": growth,
        "gates": [_gate(name, ratios[name], goal) for name, goal in GOALS.items()],
    }


def _gate(name: str, ratio: float, goal: float) -> dict[str, Any]:
    peer = {"spacing": "without it"}.get(name, f"pyversity's {name.split()[0]}")
    return {"name": f"{name}, share of the time of {peer}", "value": ratio, "goal": goal, "holds": ratio <= goal}


def _world(num: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Relevance, and vectors in forty clusters."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(40, DIMENSIONS))
    vectors_ND = centres[random.integers(0, 40, num)] + 0.7 * random.normal(size=(num, DIMENSIONS))
    return random.normal(size=num), vectors_ND.astype(np.float32)


def _sides(relevance_N: NDArray[np.float64], vectors_ND: NDArray[np.float32]) -> dict[str, Side]:
    def ours(strategy: Strategy, loop: Greedy = greedy, spacing: tuple[SpacingRule, ...] = ()) -> Side:
        plan = DiversityPlan(strategy, GAMMA, WINDOW)
        return lambda: fill(relevance_N, of_vectors(vectors_ND), plan, spacing, NUM_PICKS, loop=loop)

    scores_N = relevance_N.astype(np.float32)
    peers = {
        "pyversity ssd": lambda: pyversity.ssd(vectors_ND, scores_N, NUM_PICKS, diversity=0.5, window=WINDOW - 1),
        "pyversity dpp": lambda: pyversity.dpp(vectors_ND, scores_N, NUM_PICKS, diversity=0.5),
        "pyversity mmr": lambda: pyversity.mmr(vectors_ND, scores_N, NUM_PICKS, diversity=0.5),
    }
    return {
        "ssd": ours("ssd"),
        "ssd compiled": ours("ssd", greedy_compiled),
        "ssd with spacing": ours("ssd", spacing=_rules(len(relevance_N))),
        "ssd compiled with spacing": ours("ssd", greedy_compiled, _rules(len(relevance_N))),
        "ssd_spectral": ours("ssd_spectral"),
        "dpp": ours("dpp"),
        "dpp compiled": ours("dpp", greedy_compiled),
        "mmr": ours("mmr"),
        "none": ours("none"),
        **peers,
    }


def _rules(num: int) -> tuple[SpacingRule, ...]:
    """Five classes, as the repository's own."""
    random = np.random.default_rng(3)
    windows = (4, 10, 6, 10, 6)
    return tuple(
        SpacingRule(f"class-{number}", random.integers(NOT_A_MEMBER, 30, num), (), 0.5, window)
        for number, window in enumerate(windows)
    )


def _prove_equal(relevance_N: NDArray[np.float64], vectors_ND: NDArray[np.float32]) -> dict[str, Any]:
    expected = ssd_picks(relevance_N, vectors_ND.astype(np.float64), GAMMA, WINDOW, NUM_PICKS)

    def picks(strategy: Strategy, loop: Greedy) -> Any:
        plan = DiversityPlan(strategy, GAMMA, WINDOW)
        return fill(relevance_N, of_vectors(vectors_ND), plan, [], NUM_PICKS, loop=loop).order_T.tolist()

    for name, found, wanted in (
        ("ssd", picks("ssd", greedy), expected),
        ("ssd compiled", picks("ssd", greedy_compiled), expected),
        ("dpp compiled", picks("dpp", greedy_compiled), picks("dpp", greedy)),
    ):
        if found != wanted:
            raise AssertionError(f"{name} differs from its reference: {found} against {wanted}")
    theirs = pyversity.ssd(
        vectors_ND, relevance_N.astype(np.float32), NUM_PICKS, diversity=0.5, window=WINDOW - 1
    ).indices.tolist()
    return {
        "reference": True,
        "share_of_picks_as_pyversity": round(float(np.mean(np.array(theirs) == np.array(expected))), 3),
    }


def _interleaved(sides: dict[str, Side]) -> dict[str, list[float]]:
    milliseconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # warm, or compile
    for _ in range(ROUNDS):
        for name, side in sides.items():
            start_s = time.thread_time()
            side()
            milliseconds[name].append(1e3 * (time.thread_time() - start_s))
    return milliseconds


def _growth(num: int) -> dict[str, float]:
    relevance_N, vectors_ND = _world(num)
    wanted = ("ssd", "ssd compiled", "dpp", "pyversity ssd", "pyversity dpp")
    sides = {name: side for name, side in _sides(relevance_N, vectors_ND).items() if name in wanted}
    rounds = [_interleaved_once(sides) for _ in range(3)]
    return {name: round(min(each[name] for each in rounds), 3) for name in sides}


def _interleaved_once(sides: dict[str, Side]) -> dict[str, float]:
    found = {}
    for name, side in sides.items():
        start_s = time.thread_time()
        side()
        found[name] = 1e3 * (time.thread_time() - start_s)
    return found


def _ratio(milliseconds: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Median of the paired ratios."""
    pairs = zip(milliseconds[ours], milliseconds[theirs], strict=True)
    return round(statistics.median(mine / peer for mine, peer in pairs), 4)
