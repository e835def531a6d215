"""DCAT against its peers on one thread, fp32, width 256, 4 layers; needs no house.

Peers of scoring C candidates of one user with L events: every candidate appended to the sequence (one at a time and
eight at a time, the faster counts), and one masked sequence of L + C rows as one would write it with PyTorch. Peer of a
training step: the same model with one copy of its history for each candidate. Results are proven equal before anything
is timed (int8 linears are not equal: their loss is reported); rounds take turns, and the fastest of each side counts:
what is slower was somebody else's work.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.dcat_peers import appended_one_by_one, masked_sequence
from modeling.dcat import flops
from modeling.dcat.cost import CostModel, Timing, fit
from modeling.dcat.cost import measure as time_both_ways
from modeling.dcat.engine import Dcat, DcatSettings
from modeling.dcat.flops import Size
from modeling.dcat.int8_linear import in_int8

SETTINGS = DcatSettings(width=256, num_layers=4, num_heads=4)
GEMM_SIDE = 512
TOLERANCE = 1e-4  # relative, fp32
LONG, SHORT = Size(512, 128, 256, 4), Size(64, 32, 256, 4)
NUM_HEADS_JUDGED = 50  # random projections of a state to a score
TRAINING_EVENTS, TRAINING_USERS = 256, 4
FIT_SIZES = ((8, 4), (16, 32), (64, 16), (128, 128), (512, 64))
HELD_OUT_SIZES = ((8, 16), (16, 8), (32, 64), (64, 32), (128, 32), (256, 128), (512, 128))

REPEATS = 6  # of a side in one round; the naive peers take seconds and run once
SLOW = ("one_at_a_time", "eight_at_a_time", "expanded")

Run = Callable[[], object]


def measure() -> dict[str, Any]:
    """Each part in rounds of its own."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        long, short = _scoring(LONG), _scoring(SHORT)
        training = {candidates: _training(candidates) for candidates in (4, 10)}
        cost, int8 = _cost_model(), _int8(LONG)
    finally:
        torch.set_num_threads(num_threads)
    gates = [
        _gate("two passes, share of naive's time at L=512, C=128", long, "two_passes", "naive", 100.0),
        _gate("two passes, share of naive's time at L=64, C=32", short, "two_passes", "naive", 7.0),
        _gate("two passes, share of a masked sequence's time at L=512", long, "two_passes", "masked_sequence", 1.3),
        _gate("cache hit, share of two passes' time at L=512, C=128", long, "cache_hit", "two_passes", 2.5),
        _at_most("GEMM rate over two passes' rate", long["gemm_gflops"] / long["two_passes_gflops"], 2.0),
        *(
            _gate(f"training step, share of the expanded one's time at C={c}", each, "deduplicated", "expanded", goal)
            for (c, each), goal in zip(training.items(), (2.0, 8.0), strict=True)
        ),
        _at_most("time of the chosen way over that of the faster one, at worst", cost["worst_ratio"], 1.25),
    ]
    steps = {f"C={candidates}": step for candidates, step in training.items()}
    parts = {"L=512, C=128": long, "L=64, C=32": short, "training": steps, "int8": int8, "cost_model": cost}
    return {**parts, "gates": gates}


def _scoring(size: Size) -> dict[str, float]:
    model, inputs = _request(size)
    history_ULD, length_U, candidates_ND, user_index_N = inputs
    with torch.inference_mode():
        context = model.context(history_ULD, length_U).owned()
        side = torch.randn(GEMM_SIDE, GEMM_SIDE)
        runs: dict[str, Run] = {
            "two_passes": partial(_two_passes, model, *inputs),
            "cache_hit": lambda: model.cross(candidates_ND, user_index_N, [context]),
            "packed": lambda: model.score_packed(*inputs),
            "masked_sequence": partial(masked_sequence, model, history_ULD, candidates_ND),
            "one_at_a_time": partial(appended_one_by_one, model, history_ULD, candidates_ND, 1),
            "eight_at_a_time": partial(appended_one_by_one, model, history_ULD, candidates_ND, 8),
        }
        difference = _greatest_difference(runs)
        found = _best_ms({**runs, "gemm": lambda: side @ side})
    found["naive"] = min(found["one_at_a_time"], found["eight_at_a_time"])
    rates = {
        "gemm_gflops": 2 * GEMM_SIDE**3 / found.pop("gemm") / 1e6,
        "two_passes_gflops": flops.two_passes(size) / found["two_passes"] / 1e6,
    }
    return {f"{name}_ms": ms for name, ms in found.items()} | rates | {"greatest_relative_difference": difference}


def _request(size: Size) -> tuple[Dcat, tuple[Tensor, Tensor, Tensor, Tensor]]:
    torch.manual_seed(0)
    model = Dcat(SETTINGS).eval()
    history_ULD = torch.randn(1, size.num_events, size.width)
    candidates_ND = torch.randn(size.num_candidates, size.width)
    users_N = torch.zeros(size.num_candidates, dtype=torch.int64)
    return model, (history_ULD, torch.tensor([size.num_events]), candidates_ND, users_N)


def _two_passes(model: Dcat, history_ULD: Tensor, length_U: Tensor, candidates_ND: Tensor, users_N: Tensor) -> Tensor:
    return model.cross(candidates_ND, users_N, [model.context(history_ULD, length_U)])


def _greatest_difference(runs: Mapping[str, Run]) -> float:
    """Of any side from the first. Raises: AssertionError when they do not compute the same scores."""
    first, *others = (torch.as_tensor(run()) for run in runs.values())
    difference = max(float((other - first).norm() / first.norm()) for other in others)
    assert difference <= TOLERANCE, f"the sides differ by {difference}: they are not the same work"
    return difference


def _int8(size: Size) -> dict[str, float]:
    """Linear layers in int8: how much faster, and what becomes of the scores and of the first ten."""
    model, inputs = _request(size)
    few = in_int8(model)
    assert isinstance(few, Dcat)
    with torch.inference_mode():
        exact_ND, found_ND = _two_passes(model, *inputs), _two_passes(few, *inputs)
        best = _best_ms({"fp32": partial(_two_passes, model, *inputs), "int8": partial(_two_passes, few, *inputs)})
    heads_DK = torch.randn(size.width, NUM_HEADS_JUDGED)
    exact_KN, found_KN = (exact_ND @ heads_DK).T, (found_ND @ heads_DK).T
    kept = [
        len(set(a.topk(10).indices.tolist()) & set(b.topk(10).indices.tolist()))
        for a, b in zip(exact_KN, found_KN, strict=True)
    ]
    return {
        **{f"{name}_ms": ms for name, ms in best.items()},
        "times_as_fast": round(best["fp32"] / best["int8"], 2),
        "relative_error": round(float((found_ND - exact_ND).norm() / exact_ND.norm()), 5),
        "first_ten_kept_ratio": round(sum(kept) / len(kept) / 10, 4),
    }


def _training(num_candidates: int) -> dict[str, float]:
    steps: dict[str, Run] = {}
    gradients: list[list[Tensor]] = []
    for name, is_expanded in (("deduplicated", False), ("expanded", True)):
        gradients.append(_step(num_candidates, is_expanded, torch.float64)())
        steps[name] = _step(num_candidates, is_expanded, torch.float32)
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*gradients, strict=True))
    assert difference <= 1e-5, f"gradients differ by {difference} at C={num_candidates}"
    best = _best_ms(steps)
    return {f"{name}_ms": ms for name, ms in best.items()} | {"greatest_relative_gradient_difference": difference}


def _step(num_candidates: int, is_expanded: bool, dtype: torch.dtype) -> Callable[[], list[Tensor]]:
    """One step over `TRAINING_USERS` users: forward, backward, optimiser; gives the gradients."""
    torch.manual_seed(0)
    model = Dcat(SETTINGS).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    history_ULD = torch.randn(TRAINING_USERS, TRAINING_EVENTS, SETTINGS.width, dtype=dtype)
    users_N = torch.arange(TRAINING_USERS).repeat_interleave(num_candidates)
    candidates_ND = torch.randn(len(users_N), SETTINGS.width, dtype=dtype)
    head_D = torch.randn(SETTINGS.width, dtype=dtype)
    length_U = torch.full((TRAINING_USERS,), TRAINING_EVENTS)
    if is_expanded:
        history_ULD, length_U, users_N = history_ULD[users_N], length_U[users_N], torch.arange(len(users_N))

    def step() -> list[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        out_ND = _two_passes(model, history_ULD, length_U, candidates_ND, users_N)
        functional.softplus(out_ND @ head_D).mean().backward()  # type: ignore[no-untyped-call]
        gradients = [torch.as_tensor(parameter.grad).clone() for parameter in model.parameters()]
        optimizer.step()
        return gradients

    return step


def _cost_model() -> dict[str, Any]:
    """Fitted on some sizes, judged on others."""

    def runs_of(size: Size) -> tuple[Run, Run]:
        model, inputs = _request(size)
        return partial(_two_passes, model, *inputs), lambda: model.score_packed(*inputs)

    with torch.inference_mode():
        fitted_on, judged_on = (
            time_both_ways([Size(events, count, 256, 4) for events, count in sizes], runs_of, num_rounds=8)
            for sizes in (FIT_SIZES, HELD_OUT_SIZES)
        )
    cost = fit(fitted_on)
    rows = [_choice(cost, timing) for timing in judged_on]
    crossovers = {f"C={count}": _crossover(cost, count) for count in (4, 32, 128)}
    parts = {
        name: {"per_layer_s": way.per_layer_s, "per_flop_s": way.per_flop_s}
        for name, way in (("two_passes", cost.two_passes), ("packed", cost.packed))
    }
    worst = max(row["ratio"] for row in rows)
    return {"fitted": parts, "choices": rows, "crossover_events": crossovers, "worst_ratio": round(worst, 3)}


def _choice(cost: CostModel, timing: Timing) -> dict[str, Any]:
    is_packed = cost.prefers_packed(timing.size)
    chosen_s = timing.packed_s if is_packed else timing.two_passes_s
    return {
        "events": timing.size.num_events,
        "candidates": timing.size.num_candidates,
        "two_passes_ms": round(1e3 * timing.two_passes_s, 3),
        "packed_ms": round(1e3 * timing.packed_s, 3),
        "chosen": "packed" if is_packed else "two_passes",
        "ratio": chosen_s / min(timing.packed_s, timing.two_passes_s),
    }


def _crossover(cost: CostModel, num_candidates: int) -> int:
    """The first number of events at which two passes are predicted to win."""
    return next((n for n in range(2_048) if not cost.prefers_packed(Size(n, num_candidates, 256, 4))), 2_048)


def _best_ms(runs: Mapping[str, Run], num_rounds: int = 4) -> dict[str, float]:
    """Fastest time of each side after one round that fills caches."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(num_rounds + 1):
        for name, run in runs.items():
            seconds[name].append(min(_timed(run) for _ in range(1 if name in SLOW else REPEATS)))
    return {name: round(1e3 * min(values[1:]), 3) for name, values in seconds.items()}


def _timed(run: Run) -> float:
    start_s = time.perf_counter()
    run()
    return time.perf_counter() - start_s


def _gate(name: str, found: Mapping[str, float], ours: str, peer: str, times: float) -> dict[str, Any]:
    share = found[f"{ours}_ms"] / found[f"{peer}_ms"]
    return {"name": name, "value": round(share, 5), "goal": round(1.0 / times, 5), "holds": share <= 1.0 / times}


def _at_most(name: str, value: float, goal: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "goal": goal, "holds": value <= goal}
