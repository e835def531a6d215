"""How much variety each strategy gives for the relevance it costs: a frontier, as JSON and as a picture.

On the seeded world relevance is the hidden taste and vectors are the pins' own; on MovieLens-100K (CORKBOARD_MOVIELENS
names its `.inter` file, `.item` lies beside it) relevance is EASE and vectors are genres. A strategy is run over a grid
of weights; between two of them its curve is a line. What counts is diversity at 99, 97 and 95 % of the relevance of the
best page. Higher is better; no goal but one: some strategy must beat the page by relevance at 95 %.
Shapes: U users, N candidates, P pins, T slots.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corkboard.world.truth import WorldSize, make_truth
from modeling.item_to_item import fit_ease
from services.blender.domain.diversity.features import of_vectors
from services.blender.domain.diversity.strategies import STRATEGIES, DiversityPlan, Strategy
from services.blender.domain.measures import relevance_kept, variety
from services.blender.domain.slate import fill

NUM_USERS, NUM_CANDIDATES, NUM_SLOTS, WINDOW = 200, 300, 25, 8
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0)
LEVELS = (0.99, 0.97, 0.95)
MEASURES = ("ilad_at_10", "topics_at_10")
PICTURE = Path(__file__).parent / "results" / "diversity.png"
MOVIELENS = "CORKBOARD_MOVIELENS"


@dataclass(frozen=True)
class Pool:
    """One user's candidates."""

    relevance_N: NDArray[np.float64]
    vectors_ND: NDArray[np.float64]
    topics: Sequence[str]


@dataclass(frozen=True)
class Point:
    """Means over users at one weight."""

    weight: float
    relevance_kept: float
    ilad_at_10: float
    topics_at_10: float


def measure() -> dict[str, Any]:
    """Curves and frontiers by data set; the picture goes beside the JSON."""
    pools = {"world": list(_world())}
    if path := os.environ.get(MOVIELENS):
        pools["movielens"] = list(_movielens(Path(path)))
    curves = {data: {strategy: _curve(strategy, each) for strategy in STRATEGIES} for data, each in pools.items()}
    frontiers = {
        data: {strategy: _frontier(points) for strategy, points in by_strategy.items()}
        for data, by_strategy in curves.items()
    }
    _draw(curves)
    return {
        "skipped": [] if "movielens" in pools else [f"movielens: {MOVIELENS} names no file"],
        "frontiers": frontiers,
        "curves": {
            data: {strategy: [asdict(point) for point in points] for strategy, points in by_strategy.items()}
            for data, by_strategy in curves.items()
        },
        "gates": [_gate(data, each) for data, each in frontiers.items()],
    }


def _gate(data: str, frontier: dict[Strategy, dict[str, dict[str, float]]]) -> dict[str, Any]:
    plain = frontier["none"]["ilad_at_10"]["95"]
    best = max(each["ilad_at_10"]["95"] for each in frontier.values())
    ratio = round(plain / best, 4)
    name = f"{data}: ILAD@10 by relevance, share of the best strategy's at 95 % relevance"
    return {"name": name, "value": ratio, "goal": 0.95, "holds": ratio <= 0.95}


def _curve(strategy: Strategy, pools: Sequence[Pool]) -> list[Point]:
    weights = WEIGHTS[:1] if strategy == "none" else WEIGHTS
    return [_point(DiversityPlan(strategy, weight, WINDOW), pools) for weight in weights]


def _point(plan: DiversityPlan, pools: Sequence[Pool]) -> Point:
    found = [_page(plan, pool) for pool in pools]
    return Point(plan.weight, *(round(float(value), 5) for value in np.mean(found, axis=0)))


def _page(plan: DiversityPlan, pool: Pool) -> tuple[float, float, float]:
    picks = fill(pool.relevance_N, of_vectors(pool.vectors_ND), plan, [], NUM_SLOTS).order_T
    page = variety(pool.vectors_ND[picks], [pool.topics[pick] for pick in picks.tolist()])
    kept = relevance_kept(pool.relevance_N[picks].tolist(), pool.relevance_N.tolist())
    return kept, page.ilad_at_10, page.topics_at_10


def _frontier(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Most of each measure at each level of relevance, along the lines between points."""
    return {name: {f"{100 * level:.0f}": round(_at(points, name, level), 4) for level in LEVELS} for name in MEASURES}


def _at(points: Sequence[Point], name: str, level: float) -> float:
    values = [getattr(each, name) for each in points]
    best = max((value for point, value in zip(points, values, strict=True) if point.relevance_kept >= level))
    for left, right, low, high in zip(points, points[1:], values, values[1:], strict=False):
        if left.relevance_kept >= level > right.relevance_kept:
            share = (left.relevance_kept - level) / (left.relevance_kept - right.relevance_kept)
            best = max(best, low + share * (high - low))
    return float(best)


def _world() -> Iterator[Pool]:
    truth = make_truth(WorldSize())
    pins = np.arange(len(truth.vectors_PD))
    for person in range(NUM_USERS):
        like_P = truth.affinity(person, pins)
        best = np.argsort(-like_P)[:NUM_CANDIDATES]
        topics = [str(topic) for topic in truth.topic_of_P[best].tolist()]
        yield Pool(like_P[best].astype(np.float64), truth.vectors_PD[best].astype(np.float64), topics)


def _movielens(path: Path) -> Iterator[Pool]:
    rows = np.loadtxt(path, skiprows=1, usecols=(0, 1), dtype=np.int64)
    items = _genres(path.with_suffix(".item"))
    row_of_item = {item: row for row, item in enumerate(items)}
    users, user_R = np.unique(rows[:, 0], return_inverse=True)
    matrix_UP = np.zeros((len(users), len(items)), dtype=np.float32)
    matrix_UP[user_R, [row_of_item[item] for item in rows[:, 1].tolist()]] = 1.0
    model = fit_ease(matrix_UP)
    names = sorted({genre for genres in items.values() for genre in genres})
    vectors_PD = np.array([[float(name in genres) for name in names] for genres in items.values()])
    first = [genres[0] if genres else "" for genres in items.values()]
    for user in range(min(NUM_USERS, len(users))):
        score_P = model.score(np.flatnonzero(matrix_UP[user]), decay=1.0).astype(np.float64)
        score_P[matrix_UP[user] > 0] = -np.inf
        best = np.argsort(-score_P)[:NUM_CANDIDATES]
        yield Pool(score_P[best], vectors_PD[best], [first[row] for row in best.tolist()])


def _genres(path: Path) -> dict[int, list[str]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    return {int(line.split("\t")[0]): line.split("\t")[3].split() for line in lines if line.strip()}


def _draw(curves: dict[str, dict[Strategy, list[Point]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(curves), len(MEASURES), figsize=(11, 4.2 * len(curves)), squeeze=False)
    for row, (data, by_strategy) in enumerate(curves.items()):
        for column, name in enumerate(MEASURES):
            axis = axes[row][column]
            for strategy, points in by_strategy.items():
                kept = [100 * point.relevance_kept for point in points]
                axis.plot(kept, [getattr(point, name) for point in points], marker="o", markersize=3, label=strategy)
            axis.set(xlim=(80, 100.5), xlabel="relevance kept, %", ylabel=name.replace("_at_", "@"), title=data)
            for level in LEVELS:
                axis.axvline(100 * level, color="lightgrey", linewidth=0.8, zorder=0)
            axis.legend(fontsize=8)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    pyplot.close(figure)
