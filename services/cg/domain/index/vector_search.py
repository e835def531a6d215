"""What every search over vectors promises, whatever it is made of.

Shapes: N rows, V vector width, K rows found.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from services.cg.domain.search import best_rows

Kind = Literal["auto", "exact", "ann"]


@dataclass(frozen=True)
class Found:
    """Rows, best first and unique, with their inner products in float32."""

    row_K: Ints
    score_K: Floats


class VectorSearch(Protocol):
    """Nearest rows by inner product. Vectors are of unit length, or zero for a row that has none."""

    def search(self, vectors_NV: Floats, query_V: Floats, is_allowed_N: Bools, k: int) -> Found:
        """`k` allowed rows; fewer only when fewer are allowed. Never a row that is not allowed, never -1."""
        ...


def best_of(rows_R: Ints, scores_R: Floats, k: int) -> Found:
    """The best `k` of rows that were scored already; ties by row."""
    ascending = np.argsort(rows_R, kind="stable")
    rows_R, scores_R = rows_R[ascending], scores_R[ascending]
    best = best_rows(scores_R, np.ones(len(rows_R), dtype=np.bool_), k)
    return Found(rows_R[best], scores_R[best])
