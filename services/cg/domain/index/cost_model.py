"""How long each way to search takes on one core, so that the cheaper one serves.

Constants were fitted by `python -m bench retrieval_index` (bench/results/retrieval_index.json, `cost_model`). On
another machine both sides scale alike, and only their ratio decides.
"""

from dataclasses import dataclass, replace

EXACT_BUDGET_S = 0.0025  # exact search is kept up to here: its recall is 1, and it costs no build
MARGIN = 0.5  # a graph must promise half of the time: it costs memory, a build, and some recall
MIN_BEAM = 200
BEAM_PER_K = 2.2  # recall@100 is above 0.999 at 500 k rows of the bench


@dataclass(frozen=True)
class CostModel:
    """Seconds per unit of work."""

    dense_per_float_s: float = 1.2e-10
    dense_per_row_s: float = 3.0e-9
    gather_per_row_s: float = 2.0e-8
    gather_per_float_s: float = 4.0e-9  # rows that no cache holds; warm ones take a quarter
    scan_per_row_s: float = 8.0e-10
    graph_per_step_s: float = 2.6e-6

    def dense_s(self, num_rows: int, width: int) -> float:
        """All rows in one product, and the best of them."""
        return num_rows * (self.dense_per_row_s + width * self.dense_per_float_s)

    def gather_s(self, num_rows: int, num_allowed: int, width: int) -> float:
        """Only the allowed rows, fetched one by one."""
        return num_rows * self.scan_per_row_s + num_allowed * (self.gather_per_row_s + width * self.gather_per_float_s)

    def exact_s(self, num_rows: int, num_allowed: int, width: int) -> float:
        """The cheaper exact way."""
        return min(self.dense_s(num_rows, width), self.gather_s(num_rows, num_allowed, width))

    def graph_s(self, num_rows: int, beam: int) -> float:
        """A walk through the graph that looks at `beam` rows closely."""
        return num_rows * self.scan_per_row_s + beam * self.graph_per_step_s

    def without_dense(self) -> "CostModel":
        """The same, but scoring all rows is never worth it, nor fetching more of them than a beam would meet."""
        return replace(self, dense_per_row_s=1.0, gather_per_row_s=self.graph_per_step_s)

    def wants_graph(self, num_rows: int, width: int) -> bool:
        """Whether so many rows are worth a graph."""
        exact_s = self.dense_s(num_rows, width)
        return exact_s > EXACT_BUDGET_S and self.graph_s(num_rows, MIN_BEAM) < MARGIN * exact_s


def beam_for(k: int, allowed_share: float) -> int:
    """Rows to look at closely, so that about `BEAM_PER_K` times `k` of them are allowed ones."""
    return int(max(MIN_BEAM, BEAM_PER_K * k) / max(allowed_share, 1e-9))
