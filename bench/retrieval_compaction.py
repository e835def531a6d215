"""Latency of searches at 50 per second, quiet and while the index is compacted or a graph is built, in turns.

Pins are published all the time, in both phases; only the background work differs.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.load import at_rate
from bench.retrieval_world import unit_vectors
from modeling.arrays import Floats
from services.cg.app.keep_index import step_back
from services.cg.domain.index.live_search import LiveSearch, Searches
from services.cg.domain.index.vector_search import Kind
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter

NUM_PINS = {"exact": 100_000, "ann": 50_000}
RATE_PER_S, PHASE_S, ROUNDS = 50, 5.0, 3
PUBLISHED_PER_S = 100
K = 100


async def p99_while_compacting() -> dict[str, Any]:
    """For exact search a compaction after the other; for the graph each also builds a graph."""
    return {"exact": await _compare("exact"), "graph": await _compare("ann")}


async def _compare(kind: Kind) -> dict[str, Any]:
    world = _World(kind)
    await asyncio.to_thread(world.searches.prepare, world.index.snapshot())
    quiet, busy = list[float](), list[float]()
    await world.phase(False)  # warm
    for _ in range(ROUNDS):
        quiet += await world.phase(False)
        busy += await world.phase(True)
    p99 = {"quiet": float(np.quantile(quiet, 0.99)), "busy": float(np.quantile(busy, 0.99))}
    return {
        "num_pins": NUM_PINS[kind],
        "num_compactions": world.num_compactions,
        "p50_ms": {"quiet": round(float(np.median(quiet)), 2), "busy": round(float(np.median(busy)), 2)},
        "p99_ms": {name: round(value, 2) for name, value in p99.items()},
        "p99_ratio": round(p99["busy"] / p99["quiet"], 3),
        "slowest_confirmation_ms": round(max(world.confirmations_ms), 2),
    }


class _World:
    def __init__(self, kind: Kind) -> None:
        self.vectors_NV: Floats = unit_vectors(NUM_PINS[kind], 1)
        self.index, self.searches = PinIndex(), Searches(kind)
        self.search: LiveSearch = self.searches.new(lambda snapshot: snapshot.columns.content_NW)
        self.num_compactions, self.num_published = 0, 0
        self.confirmations_ms: list[float] = []
        self.is_over = False
        self._quiet = ThreadPoolExecutor(1, initializer=step_back)
        for number, vector in enumerate(self.vectors_NV):
            self.index.upsert(IndexedPin(f"pin-{number}", vector))

    async def phase(self, is_busy: bool) -> list[float]:
        """Latencies in milliseconds of one phase."""
        self.is_over = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            if is_busy:
                tasks.create_task(self._compact())
            outcome = await at_rate(self._retrieve, RATE_PER_S, PHASE_S)
            self.is_over = True
        assert not outcome.errors, outcome.errors
        return outcome.latencies_ms

    async def _retrieve(self, number: int) -> None:
        snapshot = self.index.snapshot()
        query = self.vectors_NV[number * 97 % len(self.vectors_NV)]
        found = await asyncio.to_thread(self.search.search, snapshot, query, snapshot.allowed(PinFilter()), K)
        assert len(found.row_K) == K

    async def _publish(self) -> None:
        """Replaces a pin by one with another vector; once in a while looks how soon it is found."""
        while not self.is_over:
            number = self.num_published * 31 % len(self.vectors_NV)
            vector = np.roll(self.vectors_NV[number], 1 + self.num_published % 63)
            started_s = time.perf_counter()
            self.index.upsert(IndexedPin(f"pin-{number}", vector))
            if self.num_published % 50 == 0:
                await self._confirm(f"pin-{number}", vector)
                self.confirmations_ms.append(1e3 * (time.perf_counter() - started_s))
            self.num_published += 1
            await asyncio.sleep(1 / PUBLISHED_PER_S)

    async def _confirm(self, pin_id: str, vector: Floats) -> None:
        snapshot = self.index.snapshot()
        found = await asyncio.to_thread(self.search.search, snapshot, vector, snapshot.allowed(PinFilter()), 1)
        assert snapshot.pin_ids[int(found.row_K[0])] == pin_id, "a published pin is found"

    async def _compact(self) -> None:
        """One after the other, as often as they fit."""
        while not self.is_over:
            compaction = self.index.begin_compaction()
            await asyncio.to_thread(compaction.run)
            await asyncio.get_running_loop().run_in_executor(self._quiet, self.searches.prepare, compaction.preview())
            assert self.index.finish_compaction(compaction)
            self.num_compactions += 1
