"""The candidate index against faiss Flat, and its graph against exact search; needs no house.

One thread, sides interleaved, results compared before anything is timed. Wall and thread CPU time of each side are
given: the latter holds on a machine that others use as well. `retrieval_index_large` shows a million rows once.
Shapes: N rows, V width, K found.
"""

import asyncio
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import faiss
import numpy as np
import torch

from bench.retrieval_compaction import p99_while_compacting
from bench.retrieval_cost import fitted
from bench.retrieval_world import WIDTH, everything, share, unit_vectors
from modeling.arrays import Bools, Floats, Ints
from services.cg.domain.index import graph
from services.cg.domain.index.cost_model import CostModel
from services.cg.domain.index.exact_search import ExactSearch
from services.cg.domain.index.graph_search import GraphSearch
from services.cg.domain.index.vector_search import VectorSearch

SMALL, MIDDLE, LARGE = 100_000, 500_000, 1_000_000
K = 100
NUM_QUERIES = 100
ROUNDS = 60

Side = Callable[[Floats], Any]


def measure() -> dict[str, Any]:
    """Exact at 100 k, graph at 500 k, p99 beside a compaction."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    exact = _exact_against_flat()
    approximate, cost = _graph_against_exact(MIDDLE)
    compaction = asyncio.run(p99_while_compacting())
    gates = [
        _gate("exact at 100 k, share of faiss Flat's time", exact["wall_ratio"], 1.2),
        _gate("exact at 100 k, share of neighbours missed", 1.0 - exact["recall"], 0.0),
        _gate("graph at 500 k, share of exact's CPU time", approximate["cpu_ratio"], 1 / 5),
        _gate("graph at 500 k, share of the nearest 100 missed", 1.0 - approximate["recall_at_100"], 0.02),
        _gate("graph at 500 k, answers with fewer than k at 1 % allowed", approximate["short_answers_at_1_percent"], 0),
        _gate("p99 while compacting over quiet p99", compaction["exact"]["p99_ratio"], 2.0),
        _gate("p99 while building a graph over quiet p99", compaction["graph"]["p99_ratio"], 2.0),
        _gate("time of the chosen way over that of the faster one, at worst", cost["worst_ratio"], 1.5),
    ]
    parts = {"exact_100k": exact, "graph_500k": approximate, "compaction": compaction, "cost_model": cost}
    return {**parts, "gates": gates}


def measure_large() -> dict[str, Any]:
    """A million rows once: times, recall, and what they take of memory."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    found, _ = _graph_against_exact(LARGE)
    return {"graph_1m": found, "gates": [_gate("graph at 1 M, share of exact's CPU time", found["cpu_ratio"], 1 / 5)]}


def _exact_against_flat() -> dict[str, Any]:
    vectors_NV, queries_QV = unit_vectors(SMALL, 1), unit_vectors(NUM_QUERIES, 2)
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(vectors_NV)
    allowed = everything(SMALL)
    ours = ExactSearch(CostModel())
    recall = _recall(queries_QV, lambda query: flat.search(query[None], K)[1][0], _rows(ours, vectors_NV, allowed))
    nearly_all = share(SMALL, 0.9)
    sides: dict[str, Side] = {
        "ours": lambda query: ours.search(vectors_NV, query, allowed, K),
        "ours, 90 % allowed": lambda query: ours.search(vectors_NV, query, nearly_all, K),
        "flat": lambda query: flat.search(query[None], K),
    }
    return {"recall": recall, **_compared(sides, queries_QV, "ours", "flat")}


def _graph_against_exact(num_rows: int) -> tuple[dict[str, Any], dict[str, Any]]:
    vectors_NV, queries_QV = unit_vectors(num_rows, 1), unit_vectors(NUM_QUERIES, 2)
    before_mb, started_s = _resident_mb(), time.perf_counter()
    built = graph.build(vectors_NV)
    build_s, graph_mb = time.perf_counter() - started_s, _resident_mb() - before_mb
    exact, near = ExactSearch(CostModel()), GraphSearch(built, CostModel())
    allowed, few = everything(num_rows), share(num_rows, 0.01)
    recall = _recall(queries_QV, _rows(exact, vectors_NV, allowed), _rows(near, vectors_NV, allowed))
    short = sum(len(near.search(vectors_NV, query, few, K).row_K) < K for query in queries_QV)
    tenth = share(num_rows, 0.1)
    sides: dict[str, Side] = {
        "graph": lambda query: near.search(vectors_NV, query, allowed, K),
        "exact": lambda query: exact.search(vectors_NV, query, allowed, K),
        "graph, 10 % allowed": lambda query: near.search(vectors_NV, query, tenth, K),
        "graph, 1 % allowed": lambda query: near.search(vectors_NV, query, few, K),
    }
    report = {
        "num_rows": num_rows,
        "recall_at_100": recall,
        "recall_at_100_of_10_percent": _recall(
            queries_QV, _rows(exact, vectors_NV, tenth), _rows(near, vectors_NV, tenth)
        ),
        "short_answers_at_1_percent": short,
        "build_s": round(build_s, 1),
        "vectors_mb": round(vectors_NV.nbytes / 1e6, 1),
        "graph_mb": round(graph_mb, 1),
        **_compared(sides, queries_QV, "graph", "exact"),
    }
    return report, fitted(vectors_NV, queries_QV, built)


def _rows(search: VectorSearch, vectors_NV: Floats, is_allowed_N: Bools) -> Callable[[Floats], Ints]:
    return lambda query: search.search(vectors_NV, query, is_allowed_N, K).row_K


def _recall(queries_QV: Floats, truth: Callable[[Floats], Ints], found: Callable[[Floats], Ints]) -> float:
    """Share of the true neighbours that were found."""
    shares = [len(set(truth(query).tolist()) & set(found(query).tolist())) / K for query in queries_QV]
    return round(float(np.mean(shares)), 4)


def _compared(sides: Mapping[str, Side], queries_QV: Floats, ours: str, peer: str) -> dict[str, Any]:
    """Medians of interleaved rounds, and the ratio of medians, in wall and in CPU time."""
    wall_ms: dict[str, list[float]] = {name: [] for name in sides}
    cpu_ms: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name, side in sides.items():
            query = queries_QV[number % len(queries_QV)]
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            side(query)
            wall_ms[name].append(1e3 * (time.perf_counter() - wall_s))
            cpu_ms[name].append(1e3 * (time.thread_time() - cpu_s))
    wall, cpu = ({name: float(np.median(times)) for name, times in each.items()} for each in (wall_ms, cpu_ms))
    return {
        "wall_ms": {name: round(value, 3) for name, value in wall.items()},
        "cpu_ms": {name: round(value, 3) for name, value in cpu.items()},
        "wall_ratio": round(wall[ours] / wall[peer], 4),
        "cpu_ratio": round(cpu[ours] / cpu[peer], 4),
    }


def _resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def _gate(name: str, value: float, goal: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "goal": round(goal, 4), "holds": value <= goal}
