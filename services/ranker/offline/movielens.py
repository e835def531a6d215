"""MovieLens-100K as training data, by ids alone; ratings of the same second are ordered by item."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from modeling.interactions import History
from modeling.training_data import PinTable, TrainingData

MOVIELENS = "CORKBOARD_MOVIELENS"


def movielens(path: Path) -> TrainingData:
    """From RecBole's `ml-100k.inter`."""
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in path.read_text().splitlines()[1:]:
        user, item, _, time_s = line.split("\t")
        rows[int(user)].append((int(float(time_s)), int(item)))
    none = np.zeros(0, dtype=np.int64)
    pins = PinTable((), np.zeros((0, 1), np.float32), (), none, none)
    return TrainingData("MovieLens-100K", tuple(_history(u, sorted(rows[u])) for u in sorted(rows)), pins, None)


def _history(user: int, events: list[tuple[int, int]]) -> History:
    pin_ids = [f"ml-pin-{item}" for _, item in events]
    return History(f"ml-user-{user}", pin_ids, ["rating"] * len(events), [time_s * 1_000 for time_s, _ in events])
