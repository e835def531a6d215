"""A training step with each history once per request, against the same step with one copy per candidate.

Both sides have the same weights, the same positives and the same optimiser; before timing, their losses and gradients
are shown to be equal in float64. Shapes: R requests, C positives per request, L history positions.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.tower_batch import TowerBatch

NUM_PINS, CONTENT_WIDTH, NUM_TOPICS = 5_000, 64, 40
SETTINGS = ContextualSettings(
    NUM_PINS, CONTENT_WIDTH, 6, num_layers=2, dropout=0.0, id_dropout=0.0, context_dropout=0.0
)
REQUESTS_BY_CANDIDATES = {4: 128, 10: 50}  # about 500 positives a step on either side
GOALS = {4: 2.0, 10: 4.0}
ROUNDS = 12
TOLERANCE = 1e-8


def measure() -> dict[str, Any]:
    """Median ratio of interleaved rounds for each number of candidates."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cases = {candidates: _case(candidates) for candidates in REQUESTS_BY_CANDIDATES}
    finally:
        torch.set_num_threads(num_threads)
    gates = [
        {
            "name": f"deduplicated step, share of the duplicated one's time at C={candidates}",
            "value": round(1.0 / case["speedup"], 4),
            "goal": 1.0 / GOALS[candidates],
            "holds": case["speedup"] >= GOALS[candidates],
        }
        for candidates, case in cases.items()
    ]
    return {"cases": {f"C={candidates}": case for candidates, case in cases.items()}, "gates": gates}


def _case(candidates: int) -> dict[str, float]:
    batch = _batch(REQUESTS_BY_CANDIDATES[candidates], candidates)
    difference = _greatest_difference(batch)
    if difference > TOLERANCE:
        raise AssertionError(f"gradients differ by {difference} at C={candidates}: the two steps are not the same work")
    sides = {"deduplicated": _step(batch), "duplicated": _step(batch.expanded())}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, step in sides.items():
            seconds[name].append(_timed(step))
    ratios = [theirs / ours for ours, theirs in zip(seconds["deduplicated"], seconds["duplicated"], strict=True)]
    return {
        "speedup": round(statistics.median(ratios), 2),
        "lowest_speedup": round(min(ratios), 2),
        "deduplicated_ms": round(1e3 * statistics.median(seconds["deduplicated"]), 2),
        "duplicated_ms": round(1e3 * statistics.median(seconds["duplicated"]), 2),
        "greatest_gradient_difference": difference,
    }


def _step(batch: TowerBatch) -> Callable[[], None]:
    model, trainer = _trainer()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        trainer.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()  # warm
    return step


def _greatest_difference(batch: TowerBatch) -> float:
    gradients = []
    for each in (batch, batch.expanded()):
        model, trainer = _trainer(torch.float64)
        trainer.loss(each).backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    return max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True))


def _trainer(dtype: torch.dtype = torch.float32) -> tuple[ContextualTwoTower, ContextualTrainer]:
    torch.manual_seed(0)
    model = ContextualTwoTower(SETTINGS).to(dtype).eval()
    return model, ContextualTrainer(model, _pins())


def _pins() -> PinFeatures:
    random = np.random.default_rng(0)
    content = random.normal(size=(NUM_PINS, CONTENT_WIDTH)).astype(np.float32)
    return PinFeatures(np.arange(1, NUM_PINS + 1), content, random.integers(1, NUM_TOPICS, (NUM_PINS, 4)))


def _batch(num_requests: int, candidates: int) -> TowerBatch:
    random = np.random.default_rng(1)
    length = SETTINGS.max_history
    num_rows = num_requests * candidates
    return TowerBatch(
        pin_RL=torch.from_numpy(random.integers(0, NUM_PINS, (num_requests, length))),
        type_RL=torch.from_numpy(random.integers(1, 7, (num_requests, length))),
        user_id_R=torch.arange(num_requests),
        row_to_request_B=torch.arange(num_requests).repeat_interleave(candidates),
        position_B=torch.full((num_rows,), length - 1),
        target_B=torch.from_numpy(random.integers(0, NUM_PINS, num_rows)),
    )


def _timed(step: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    step()
    return time.perf_counter() - start_s
