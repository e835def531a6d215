"""Decayed popularity; before any bundle it is the pins' own quality, so there is always something to serve.

Counts go on decaying after the bundle was made, as the quality of new pins does: an old bundle gives way to them.

Shapes: N rows of the snapshot, P pins of the bundle.
"""

from collections.abc import Mapping

import numpy as np

from modeling.arrays import Floats
from modeling.popularity import DEFAULT_HALF_LIFE_S, popularity_score
from services.cg.domain.generators.row_map import RowMap
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, RetrievalQuery
from services.cg.domain.search import best_rows

NAME = "popular"
PRIOR_WEIGHT = 0.5  # a new pin of full quality counts as half an engagement


class PopularPins:
    """Counts per pin of one bundle version, as of its newest engagement; the query's filter tells locales apart."""

    name = NAME

    def __init__(
        self,
        row_of_pin: Mapping[str, int] | None = None,
        count_P: Floats | None = None,
        version: str = "",
        newest_time_ms: int = 0,
    ) -> None:
        self.version = version
        self._newest_time_ms = newest_time_ms
        self._count_P = np.zeros(0, dtype=np.float32) if count_P is None else count_P
        self._rows = RowMap(row_of_pin or {})
        self._newest: tuple[tuple[int, int, int], Floats] | None = None

    def warm(self, snapshot: PinSnapshot) -> None:
        """Find the new pins in the bundle."""
        self._rows.of(snapshot)

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The most popular allowed pins."""
        score_N = self._scores(query.snapshot, query.now_ms // 1_000)
        rows = best_rows(score_N, query.is_allowed_N, k)
        return Generated(rows, score_N[rows], index_version=self.version)

    def _scores(self, snapshot: PinSnapshot, now_s: int) -> Floats:
        """Of all rows; requests of the same second share them."""
        key, newest = (snapshot.generation, snapshot.num_rows, now_s), self._newest
        if newest is None or newest[0] != key:
            counts_N = self._counts(snapshot) * self._decay(1_000 * now_s)
            newest = self._newest = (key, popularity_score(counts_N, _prior(snapshot, 1_000 * now_s)))
        return newest[1]

    def _decay(self, now_ms: int) -> float:
        """What an engagement of the bundle's newest moment counts now."""
        if not self._newest_time_ms:
            return 1.0
        age_s = max(0, now_ms - self._newest_time_ms) / 1_000.0
        return float(0.5 ** (age_s / DEFAULT_HALF_LIFE_S))

    def _counts(self, snapshot: PinSnapshot) -> Floats:
        bundle_row_N = self._rows.of(snapshot)
        if not len(self._count_P):
            return np.zeros(snapshot.num_rows, dtype=np.float32)
        return np.where(bundle_row_N >= 0, self._count_P[bundle_row_N], 0.0).astype(np.float32)


def _prior(snapshot: PinSnapshot, now_ms: int) -> Floats:
    age_s_N = np.maximum(now_ms - snapshot.columns.created_ms_N, 0) / 1_000.0
    return (PRIOR_WEIGHT * snapshot.columns.quality_N * 0.5 ** (age_s_N / DEFAULT_HALF_LIFE_S)).astype(np.float32)
