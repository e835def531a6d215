"""The hidden state of a readable history: made in the request, or as it was stored. One core, answers equal first.

Both sides run the context layer, the head and the search. Shapes: L history events.
"""

import time
from typing import Any

import numpy as np
import torch

from bench.retrieval_world import unit_vectors
from services.cg.domain.generators.contextual import NAME, ContextualPins
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_index import PinIndex, PinSnapshot
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import HistoryEvent, RetrievalQuery, StoredVector
from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower

NUM_PINS, WIDTH, K = 5_000, 64, 300
LENGTHS = (10, 50)  # the model reads the newest 50
ROUNDS = 300
MAX_FRESH_MS = 2.0  # a tenth of what a retrieval may take at p99, less than one more call to the indexer under load


def measure() -> dict[str, Any]:
    """Medians of both sides in turns, and what the state alone costs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ContextualTwoTower(ContextualSettings(NUM_PINS, WIDTH, 6)).eval()
    snapshot = _snapshot()
    ids = {pin_id: row + 1 for row, pin_id in enumerate(snapshot.pin_ids)}
    fresh = ContextualPins(model, ids, ("save",), "v")
    stored = ContextualPins(model, ids, ("save",), "v", is_state_stored=True)
    cases = {f"{length} events": _compare(fresh, stored, snapshot, length) for length in LENGTHS}
    slowest_ms = max(case["state_ms"] for case in cases.values())
    gate = {"name": "hidden state in the request, ms", "value": slowest_ms, "goal": MAX_FRESH_MS}
    return {"cases": cases, "gates": [{**gate, "holds": slowest_ms <= MAX_FRESH_MS}]}


def _compare(fresh: ContextualPins, stored: ContextualPins, snapshot: PinSnapshot, length: int) -> dict[str, Any]:
    random = np.random.default_rng(length)
    chosen = random.choice(NUM_PINS, length, replace=False)
    history = tuple(HistoryEvent(snapshot.pin_ids[row], "save", 0) for row in chosen)
    state = {NAME: StoredVector("v", fresh.encode_history(history, snapshot))}
    query = RetrievalQuery(snapshot, snapshot.allowed(PinFilter()), 0, history, state, snapshot.pin_ids[0])
    answers = [side.generate(query, K) for side in (fresh, stored)]
    assert np.array_equal(answers[0].row_K, answers[1].row_K), "both sides answer the same"
    times: dict[str, list[float]] = {"fresh": [], "stored": [], "state": []}
    for _ in range(ROUNDS):
        times["fresh"].append(_ms(lambda: fresh.generate(query, K)))
        times["stored"].append(_ms(lambda: stored.generate(query, K)))
        times["state"].append(_ms(lambda: fresh.encode_history(history, snapshot)))
    medians = {f"{name}_ms": round(float(np.median(values)), 3) for name, values in times.items()}
    p99 = {f"{name}_p99_ms": round(float(np.quantile(values, 0.99)), 3) for name, values in times.items()}
    return {**medians, **p99, "fresh_over_stored": round(medians["fresh_ms"] / medians["stored_ms"], 3)}


def _ms(work: Any) -> float:
    started_s = time.perf_counter()
    work()
    return (time.perf_counter() - started_s) * 1_000.0


def _snapshot() -> PinSnapshot:
    index = PinIndex()
    for number, vector in enumerate(unit_vectors(NUM_PINS, 3)):
        index.upsert(IndexedPin(f"pin-{number}", vector, (f"topic-{number % 40}",)))
    return index.snapshot()
