"""Every strategy against its formula, and similarities from several signals."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.blender.domain.diversity.dpp import EPSILON
from services.blender.domain.diversity.features import NO_CODE, PinRows, combine, of_code_paths, of_vectors
from services.blender.domain.diversity.ssd import SpectrumWindow
from services.blender.domain.diversity.strategies import STRATEGIES, DiversityPlan, Strategy
from services.blender.domain.greedy import Greedy, greedy
from services.blender.domain.relevance import normalise
from services.blender.domain.slate import fill
from services.blender.domain.slate_compiled import greedy_compiled
from services.blender.tests.test_slate import SEEDS, random_rules, random_vectors

Similarity = np.ndarray


def similarity(rows: PinRows) -> Similarity:
    """All pairs [M, M]."""
    products: np.ndarray = rows.rows_ME @ rows.rows_ME.T + np.diag(rows.own_M)
    return products


def dpp_gain(s: Similarity, window: list[int], i: int) -> float:
    """log det(S[W + i]) - log det(S[W])."""
    before = np.linalg.slogdet(s[np.ix_(window, window)] + 1e-9 * np.eye(len(window)))[1]
    both = [*window, i]
    after = np.linalg.slogdet(s[np.ix_(both, both)] + 1e-9 * np.eye(len(both)))[1]
    return max(float(after - before), float(np.log(EPSILON)))


def mmr_gain(s: Similarity, window: list[int], i: int) -> float:
    return 1.0 - max((float(s[j, i]) for j in window), default=0.0)


def spectral_gain(s: Similarity, window: list[int], i: int) -> float:
    if not window:
        return 1.0
    values, vectors = np.linalg.eigh(s[np.ix_(window, window)])
    cost, num = 0.0, len(window)
    for k in range(max(0, num - 4), num):
        exposure = np.mean([(s[j, window] @ vectors[:, k]) ** 2 for j in window])
        cost += exposure / (1e-9 + abs(values[k])) * (s[i, window] @ vectors[:, k]) ** 2 / num
    return 1.0 - cost


GAINS: dict[Strategy, Callable[[Similarity, list[int], int], float]] = {
    "dpp": dpp_gain,
    "mmr": mmr_gain,
    "ssd_spectral": spectral_gain,
}


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    strategy=st.sampled_from(list(GAINS)),
    num=st.integers(1, 25),
    num_tail=st.integers(0, 6),
    window=st.integers(2, 7),
    gamma=st.sampled_from([0.1, 0.5, 3.0]),
)
def test_each_pick_is_the_best_by_the_formula(
    seed: int, strategy: Strategy, num: int, num_tail: int, window: int, gamma: float
) -> None:
    rng = np.random.default_rng(seed)
    relevance = np.round(rng.normal(size=num), 2)
    rows = of_vectors(np.concatenate([random_vectors(rng, num, 16), rng.normal(size=(num_tail, 16))]))
    slate = fill(relevance, rows, DiversityPlan(strategy, gamma, window), [], num)

    s, scores = similarity(rows), normalise(relevance)
    placed = list(range(num, num + num_tail))
    alive = set(range(num))
    for pick, bonus in zip(slate.order_T.tolist(), slate.bonus_T.tolist(), strict=True):
        utility = {i: scores[i] + gamma * GAINS[strategy](s, placed[-(window - 1) :], i) for i in alive}
        assert utility[pick] == pytest.approx(max(utility.values()), abs=1e-5 * max(1.0, gamma))
        assert bonus == pytest.approx(utility[pick] - scores[pick], abs=1e-5 * max(1.0, gamma))
        alive.remove(pick)
        placed.append(pick)


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    strategy=st.sampled_from(STRATEGIES),
    num=st.integers(0, 60),
    num_slots=st.integers(0, 70),
    window=st.integers(1, 12),
)
def test_the_compiled_loop_is_the_loop(seed: int, strategy: Strategy, num: int, num_slots: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    relevance = np.round(rng.normal(size=num), 1)
    width = 16  # of no window's whole space: what is left of a pin would be rounding alone
    vectors = random_vectors(rng, num, width) if num else np.zeros((0, width))
    vectors[rng.random(num) < 0.2] = 0.0  # of which nothing is known
    rows = of_vectors(np.concatenate([vectors, rng.normal(size=(4, width))]))
    plan = DiversityPlan(strategy, float(rng.uniform(0, 3)), window)
    rules = random_rules(rng, num, 4)

    expected = fill(relevance, rows, plan, rules, num_slots, loop=greedy)
    found = fill(relevance, rows, plan, rules, num_slots, loop=greedy_compiled)

    assert found.order_T.tolist() == expected.order_T.tolist()
    exact_to = 1e-4 if strategy == "dpp" else 1e-9  # a window with copies in it is solved to 1e-8
    assert found.bonus_T == pytest.approx(expected.bonus_T, abs=exact_to)
    assert found.penalty_T == pytest.approx(expected.penalty_T, abs=1e-9)
    assert found.moved_by == expected.moved_by
    assert found.dry_run_moves == expected.dry_run_moves


def shared_levels(a: np.ndarray, b: np.ndarray) -> int:
    for level, (x, y) in enumerate(zip(a, b, strict=True)):
        if x != y or x == NO_CODE:
            return level
    return len(a)


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, threshold=st.sampled_from([0.0, 0.25, 0.4, 0.7]))
def test_products_of_code_paths_are_their_shared_prefix(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, size=(20, 4))
    s = similarity(of_code_paths(codes, threshold))
    for i in range(20):
        for j in range(20):
            expected = max(0.0, shared_levels(codes[i], codes[j]) / 4 - threshold) / (1 - threshold)
            assert s[i, j] == pytest.approx(expected)
    assert np.linalg.eigvalsh(s).min() > -1e-9


def test_one_level_of_codes_means_the_same_code_and_a_missing_one_is_like_nothing() -> None:
    s = similarity(of_code_paths(np.array([[3], [3], [4], [NO_CODE], [NO_CODE]])))
    assert s.tolist() == pytest.approx(
        np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    )


def test_a_path_that_ends_early_is_wholly_like_itself() -> None:
    s = similarity(of_code_paths(np.array([[1, NO_CODE], [1, NO_CODE], [1, 2]])))
    assert s[0, 0] == s[0, 1] == pytest.approx(1.0)
    assert s[0, 2] == pytest.approx(0.5**0.5)


def test_signals_add_up_by_weight_and_a_missing_one_leaves_the_others() -> None:
    vectors = of_vectors(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    topics = of_code_paths(np.array([[7], [7], [7]]))
    s = similarity(combine([vectors, topics], [3.0, 1.0]))
    assert s[0, 1] == pytest.approx(0.75 * 0.5 + 0.25)
    assert np.diag(s) == pytest.approx(1.0)
    assert s[0, 2] == pytest.approx(0.25 / 0.25**0.5)  # of the third only the topic is known


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0]])
def test_weights_that_make_no_similarity_are_refused(weights: list[float]) -> None:
    rows = of_vectors(np.eye(2))
    with pytest.raises(ValueError, match="weights"):
        combine([rows, rows], weights)


@pytest.mark.parametrize("loop", [greedy, greedy_compiled])
def test_a_pin_of_which_nothing_is_known_counts_like_the_last_picks(loop: Greedy) -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])  # a copy against a pin without a vector
    slate = fill(np.array([1.0, 0.5, 0.4]), of_vectors(vectors), DiversityPlan("ssd", 2.0, 4), [], 3, loop=loop)
    assert slate.order_T.tolist() == [0, 2, 1]
    assert slate.bonus_T[1] == pytest.approx(2.0)


def test_candidates_that_cannot_win_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    relevance = np.concatenate([10.0 + rng.normal(size=20), rng.normal(size=5_000)])
    asked: list[int] = []
    novelty = SpectrumWindow.novelty

    def noting(window: SpectrumWindow, start: int, stop: int) -> np.ndarray:
        asked.append(stop)
        return novelty(window, start, stop)

    monkeypatch.setattr(SpectrumWindow, "novelty", noting)
    fill(relevance, of_vectors(rng.normal(size=(5_020, 8))), DiversityPlan("ssd", 0.25, 8), [], 10)
    assert 10 <= max(asked) <= 20
