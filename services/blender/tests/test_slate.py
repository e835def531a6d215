"""The slate: nothing lost, nothing twice, NaN never wins, picks equal to the slow reference."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.blender.domain.diversity.features import of_vectors
from services.blender.domain.diversity.strategies import STRATEGIES, DiversityPlan, Strategy
from services.blender.domain.greedy import Greedy, greedy
from services.blender.domain.relevance import NEVER_WINS, normalise
from services.blender.domain.slate import DIVERSITY, Slate, fill
from services.blender.domain.slate_compiled import greedy_compiled
from services.blender.domain.spacing import NOT_A_MEMBER, Kernel, SpacingRule
from services.blender.tests.slow_reference import ssd_picks

SEEDS = st.integers(0, 2**32 - 1)
LOOPS = st.sampled_from([greedy, greedy_compiled])


def slate_of(
    relevance: np.ndarray,
    vectors: np.ndarray,
    plan: DiversityPlan,
    num_slots: int,
    *,
    tail: np.ndarray | None = None,
    rules: Sequence[SpacingRule] = (),
    loop: Greedy = greedy,
) -> Slate:
    rows = of_vectors(vectors if tail is None else np.concatenate([vectors, tail]))
    return fill(relevance, rows, plan, rules, num_slots, loop=loop)


def spaced(relevance: np.ndarray, rules: Sequence[SpacingRule], num_slots: int) -> Slate:
    """Without diversity."""
    return slate_of(relevance, np.zeros((len(relevance), 1)), DiversityPlan("none"), num_slots, rules=rules)


def ssd(gamma: float, window: int = 8) -> DiversityPlan:
    return DiversityPlan("ssd", gamma, window)


def random_vectors(rng: np.random.Generator, num: int, dimensions: int) -> np.ndarray:
    """Clustered unit rows, some of them twice."""
    centres = rng.normal(size=(4, dimensions))
    rows = centres[rng.integers(0, 4, num)] + 0.4 * rng.normal(size=(num, dimensions))
    for copy in rng.integers(0, num, num // 5):
        rows[copy] = rows[rng.integers(0, num)]
    unit_rows: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit_rows


def random_rules(rng: np.random.Generator, num: int, num_tail: int) -> list[SpacingRule]:
    kernels: tuple[Kernel, ...] = ("inverse", "exponential", "step")
    return [
        SpacingRule(
            name=f"class-{index}",
            codes_N=rng.integers(NOT_A_MEMBER, 3, num),
            penalty=float(rng.uniform(0.1, 3)),
            tail_codes=rng.integers(NOT_A_MEMBER, 3, num_tail).tolist(),
            window=int(rng.integers(1, 12)),
            kernel=kernels[index % 3],
            is_dry_run=index == 3,
            num_free=int(rng.integers(0, 3)) if index == 1 else 0,
            first_slot=int(rng.integers(0, 9)) if index == 2 else 0,
        )
        for index in range(int(rng.integers(0, 5)))
    ]


@settings(max_examples=300, deadline=None)
@given(
    seed=SEEDS,
    num=st.integers(0, 60),
    num_slots=st.integers(0, 70),
    window=st.integers(1, 12),
    strategy=st.sampled_from(STRATEGIES),
    loop=LOOPS,
)
def test_any_slate_is_whole_without_repeats_and_prefers_finite_scores(
    seed: int, num: int, num_slots: int, window: int, strategy: Strategy, loop: Greedy
) -> None:
    rng = np.random.default_rng(seed)
    relevance = rng.normal(size=num) * 10.0 ** rng.integers(-6, 300 if seed % 7 == 0 else 6)
    relevance[rng.random(num) < 0.2] = rng.choice([np.nan, np.inf, -np.inf])
    vectors = random_vectors(rng, num, 5) if num else np.zeros((0, 5))
    vectors[rng.random(num) < 0.1] = rng.choice([0.0, np.nan, np.inf])
    plan = DiversityPlan(strategy, float(rng.uniform(0, 2)), window)

    slate = slate_of(
        relevance,
        vectors,
        plan,
        num_slots,
        tail=rng.normal(size=(3, 5)),
        rules=random_rules(rng, num, 3),
        loop=loop,
    )

    picks = slate.order_T.tolist()
    assert len(picks) == min(num, num_slots) == len(set(picks)) == len(slate.moved_by)
    is_finite = [bool(np.isfinite(relevance[pick])) for pick in picks]
    assert is_finite == sorted(is_finite, reverse=True), "a score that is not finite stands before a finite one"
    assert np.isfinite(slate.bonus_T).all() and np.isfinite(slate.penalty_T).all()
    assert (slate.penalty_T >= 0).all() and (strategy == "dpp" or (slate.bonus_T >= -1e-9).all())


@settings(max_examples=200, deadline=None)
@given(
    seed=SEEDS,
    num=st.integers(1, 50),
    num_tail=st.integers(0, 12),
    window=st.integers(1, 10),
    gamma=st.sampled_from([0.0, 0.1, 0.25, 1.0, 5.0]),
    loop=LOOPS,
)
def test_picks_equal_the_residual_form(
    seed: int, num: int, num_tail: int, window: int, gamma: float, loop: Greedy
) -> None:
    rng = np.random.default_rng(seed)
    vectors, tail = random_vectors(rng, num, 6), rng.normal(size=(num_tail, 6))
    relevance = np.round(rng.normal(size=num), 1)  # many ties

    slate = slate_of(relevance, vectors, ssd(gamma, window), num, tail=tail, loop=loop)

    assert slate.order_T.tolist() == ssd_picks(relevance, vectors, gamma, window, num, tail)


def test_picks_equal_the_residual_form_at_the_size_of_a_feed() -> None:
    rng = np.random.default_rng(7)
    vectors = random_vectors(rng, 500, 64).astype(np.float32)
    relevance = rng.normal(size=500)
    slate = slate_of(relevance, vectors, ssd(0.25), 100)
    assert slate.order_T.tolist() == ssd_picks(relevance, vectors, 0.25, 8, 100)


def test_the_reference_notices_a_window_that_is_off_by_one() -> None:
    rng = np.random.default_rng(1)
    vectors, relevance = random_vectors(rng, 40, 6), rng.normal(size=40)
    fast = slate_of(relevance, vectors, ssd(1.0, 5), 40).order_T.tolist()
    assert fast != ssd_picks(relevance, vectors, 1.0, 4, 40)


def test_equal_vectors_and_equal_scores_keep_their_order() -> None:
    vectors = np.ones((30, 8))
    slate = slate_of(np.ones(30), vectors, ssd(0.5), 30)
    assert slate.order_T.tolist() == list(range(30))
    assert set(slate.moved_by) == {""}


def test_equal_vectors_are_in_order_of_relevance() -> None:
    relevance = np.array([0.1, 0.9, 0.5, 0.9])
    slate = slate_of(relevance, np.ones((4, 3)), ssd(2.0), 4)
    assert slate.order_T.tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("num", [0, 1])
def test_tiny_pools_are_served_whole(num: int) -> None:
    assert slate_of(np.ones(num), np.ones((num, 4)), ssd(0.5), 25).order_T.tolist() == list(range(num))


def test_ten_thousand_candidates_are_fine() -> None:
    rng = np.random.default_rng(0)
    rules = random_rules(rng, 10_000, 0)
    slate = slate_of(rng.normal(size=10_000), rng.normal(size=(10_000, 16)), ssd(0.25), 50, rules=rules)
    assert len(set(slate.order_T.tolist())) == 50


def test_diversity_separates_two_clusters_and_says_so() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float64)
    slate = slate_of(np.array([1.0, 0.99, 0.98, 0.5]), vectors, ssd(3.0), 4)
    assert slate.order_T.tolist() == [0, 3, 1, 2]
    assert slate.moved_by == ["", DIVERSITY, DIVERSITY, DIVERSITY]


def test_the_tail_of_the_page_before_counts() -> None:
    vectors = np.array([[1, 0], [0, 1]], dtype=np.float64)
    relevance = np.array([0.6, 0.5])
    assert slate_of(relevance, vectors, ssd(4.0), 1).order_T.tolist() == [0]
    assert slate_of(relevance, vectors, ssd(4.0), 1, tail=vectors[:1]).order_T.tolist() == [1]


def ads(
    codes: list[int], *, penalty: float = 2.0, window: int = 3, is_dry_run: bool = False, tail: tuple[int, ...] = ()
) -> SpacingRule:
    return SpacingRule("ads", np.array(codes), tail, penalty, window, is_dry_run=is_dry_run)


def test_spacing_spreads_a_class_and_names_it() -> None:
    rule = ads([0, 0, NOT_A_MEMBER, NOT_A_MEMBER], penalty=6.0)
    slate = spaced(np.array([4.0, 3.9, 3.0, 2.9]), [rule], 4)
    assert slate.order_T.tolist() == [0, 2, 3, 1]
    assert slate.moved_by == ["", "ads", "ads", "ads"]
    assert slate.penalty_T[3] == pytest.approx(2.0)


def test_only_members_make_a_full_slate_in_order_of_utility() -> None:
    slate = spaced(np.arange(20.0), [ads([0] * 20, window=10)], 20)
    assert slate.order_T.tolist() == list(range(19, -1, -1))
    assert slate.penalty_T.max() == pytest.approx(2.0 * sum(1 / d for d in range(1, 11)))  # the bound 2.929 times λ


def test_a_dry_run_moves_nothing_and_counts_what_it_would() -> None:
    rule = ads([0, 0, NOT_A_MEMBER, NOT_A_MEMBER], is_dry_run=True)
    slate = spaced(np.array([4.0, 3.9, 3.0, 2.9]), [rule], 4)
    assert slate.order_T.tolist() == [0, 1, 2, 3]
    assert slate.penalty_T.max() == 0.0
    assert slate.dry_run_moves == {"ads": 1}


def test_a_load_limit_costs_nothing_below_it() -> None:
    rule = SpacingRule("ads", np.zeros(6, dtype=np.int64), (), 2.0, 4, kernel="step", num_free=2)
    slate = spaced(np.arange(6.0), [rule], 6)
    assert slate.penalty_T.tolist() == pytest.approx([0.0, 0.0, 4.0, 6.0, 8.0, 8.0])


@pytest.mark.parametrize("loop", [greedy, greedy_compiled])
def test_members_stand_behind_the_first_slot(loop: Greedy) -> None:
    rule = SpacingRule("ads", np.array([0, NOT_A_MEMBER, NOT_A_MEMBER]), (), 9.0, 4, first_slot=2)
    slate = fill(np.array([3.0, 2.0, 1.0]), of_vectors(np.eye(3)), DiversityPlan("ssd", 0.01), [rule], 3, loop=loop)
    assert slate.order_T.tolist() == [1, 2, 0]
    assert slate.moved_by == ["ads", "ads", "ads"]
    assert slate.penalty_T.tolist() == [0.0, 0.0, 0.0]


def test_the_nearer_two_code_paths_are_the_more_they_cost() -> None:
    paths = np.array([[1, 1], [1, 1], [1, 2], [2, 1], [NOT_A_MEMBER, NOT_A_MEMBER]])
    rule = SpacingRule("alike", paths, [[1, 1]], 1.0, 3, kernel="step", threshold=0.25)
    slate = spaced(np.full(5, 0.5), [rule], 1)
    assert slate.order_T.tolist() == [3]
    for candidate, expected in enumerate([0.75, 0.75, 0.25, 0.0, 0.0]):
        alone = np.where(np.arange(5) == candidate, 1_000.0, 0.0)
        assert spaced(alone, [rule], 1).penalty_T.tolist() == pytest.approx([expected])


def test_the_spacing_tail_counts() -> None:
    rule = ads([0, NOT_A_MEMBER], penalty=3.0, tail=(NOT_A_MEMBER, 0))
    assert spaced(np.array([1.0, 0.9]), [rule], 1).order_T.tolist() == [1]


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_penalties_equal_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rules = [each for each in random_rules(rng, 25, 4) if not each.is_dry_run]
    slate = spaced(rng.normal(size=25), rules, 25)
    for slot, pick in enumerate(slate.order_T.tolist()):
        expected = 0.0
        for rule in rules:
            history = [*rule.tail_codes, *(int(rule.codes_N[other]) for other in slate.order_T[:slot])]
            own = int(rule.codes_N[pick])
            if own == NOT_A_MEMBER:
                continue
            like = [weight for weight, code in zip(rule.weights(), reversed(history), strict=False) if code == own]
            expected += sum(like) if len(like) >= rule.num_free else 0.0
            expected += rule.penalty if slot < rule.first_slot else 0.0
        assert slate.penalty_T[slot] == pytest.approx(expected)


def test_z_scores_survive_huge_values_and_none_at_all() -> None:
    assert normalise(np.array([1e308, -1e308])).tolist() == [1.0, -1.0]
    assert normalise(np.array([np.nan, np.inf])).tolist() == [NEVER_WINS, NEVER_WINS]
    assert normalise(np.array([5.0, 5.0])).tolist() == [0.0, 0.0]
    assert normalise(np.zeros(0)).tolist() == []


def test_the_same_input_gives_the_same_slate() -> None:
    rng = np.random.default_rng(3)
    vectors, relevance = random_vectors(rng, 100, 8), rng.normal(size=100)
    slates = [slate_of(relevance, vectors, ssd(0.5), 50).order_T.tolist() for _ in range(3)]
    assert all(a == b for a, b in itertools.pairwise(slates))
