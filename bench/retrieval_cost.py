"""Fits the index's cost model on this machine, and judges the one in use by other cases.

Shapes: N rows, V width, Q queries.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from bench.retrieval_world import share
from modeling.arrays import Bools, Floats
from services.cg.domain.index.cost_model import CostModel, beam_for
from services.cg.domain.index.exact_search import ExactSearch
from services.cg.domain.index.graph import Graph
from services.cg.domain.index.graph_search import OVERSAMPLE, GraphSearch

REPEATS = 9
K = 100
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
FORCED_DENSE, FORCED_GATHER = CostModel(gather_per_row_s=1.0), CostModel(dense_per_row_s=1.0)


def fitted(vectors_NV: Floats, queries_QV: Floats, built: Graph) -> dict[str, Any]:
    """Constants as this machine has them, and how well those in use choose."""
    return {"in_use": asdict(CostModel()), "fitted": _fit(vectors_NV, queries_QV, built), **_judge(vectors_NV, built)}


def _fit(vectors_NV: Floats, queries_QV: Floats, built: Graph) -> dict[str, float]:
    num_rows, width = vectors_NV.shape
    query, allowed = queries_QV[0], np.ones(num_rows, dtype=np.bool_)
    dense_s = {n: _cpu_s(partial(_dense, vectors_NV[:n], query, allowed[:n])) for n in (num_rows // 4, num_rows)}
    few = share(num_rows, 0.05)
    gather_s = _cpu_s(lambda: ExactSearch(FORCED_GATHER).search(vectors_NV, query, few, K))
    scan_s = _cpu_s(lambda: np.count_nonzero(few) + len(np.packbits(few)) + len(np.flatnonzero(few)))
    steps_s = {beam: _cpu_s(partial(built.nearest, query, allowed, OVERSAMPLE * K, beam)) for beam in (400, 1_600)}
    per_row_s = dense_s[num_rows] / num_rows
    return {
        "dense_per_row_and_float_s": per_row_s,
        "dense_per_float_s": per_row_s * 0.9 / width,  # measured apart the best-of pass is about a tenth
        "dense_quarter_per_float_s": dense_s[num_rows // 4] / (num_rows // 4) * 0.9 / width,
        "gather_per_row_of_width_s": (gather_s - scan_s) / max(1, int(few.sum())),
        "scan_per_row_s": scan_s / num_rows,
        "graph_per_step_s": (steps_s[1_600] - steps_s[400]) / 1_200,
        "graph_per_step_at_400_s": steps_s[400] / 400,
    }


def _judge(vectors_NV: Floats, built: Graph) -> dict[str, Any]:
    """For each share of allowed rows: what each way takes, and what is chosen."""
    choices, worst = [], 1.0
    for allowed_share in SHARES:
        allowed = share(len(vectors_NV), allowed_share)
        ways = _ways(vectors_NV, built, allowed)
        chosen = GraphSearch(built, CostModel())
        chosen_s = _cpu_s(partial(chosen.search, vectors_NV, vectors_NV[5], allowed, K))
        ratio = chosen_s / min(ways.values())
        worst = max(worst, ratio)
        row = {name: round(1e3 * seconds, 3) for name, seconds in {**ways, "chosen": chosen_s}.items()}
        choices.append({"allowed_share": allowed_share, "cpu_ms": row, "ratio": round(ratio, 3)})
    return {"choices": choices, "worst_ratio": round(worst, 3)}


def _ways(vectors_NV: Floats, built: Graph, allowed: Bools) -> dict[str, float]:
    query = vectors_NV[5]
    beam = beam_for(K, float(allowed.mean()))
    return {
        "dense": _cpu_s(lambda: _dense(vectors_NV, query, allowed)),
        "gather": _cpu_s(lambda: ExactSearch(FORCED_GATHER).search(vectors_NV, query, allowed, K)),
        "graph": _cpu_s(lambda: built.nearest(query, allowed, OVERSAMPLE * K, beam)),
    }


def _dense(vectors_NV: Floats, query_V: Floats, allowed: Bools) -> object:
    return ExactSearch(FORCED_DENSE).search(vectors_NV, query_V, allowed, K)


def _cpu_s(run: Callable[[], object]) -> float:
    """Least CPU time of this thread."""
    run()
    times = []
    for _ in range(REPEATS):
        start_s = time.thread_time()
        run()
        times.append(time.thread_time() - start_s)
    return min(times)
