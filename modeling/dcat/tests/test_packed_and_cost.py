"""Both ways give the same scores and gradients; the cost model changes its mind once, where the predictions cross."""

import pytest
import torch

from modeling.dcat import flops
from modeling.dcat.cost import Cost, CostModel, Timing, fit, measure
from modeling.dcat.flops import Size
from modeling.dcat.reference import candidate_by_candidate
from modeling.dcat.tests.batches import ALWAYS_PACKED, ALWAYS_TWO_PASSES, Batch, batch, model
from modeling.dcat.tests.test_exactness import BATCHES

COSTS = CostModel(two_passes=Cost(5e-4, 1e-11), packed=Cost(2e-4, 1.1e-11))


@pytest.mark.parametrize("given", BATCHES.values(), ids=list(BATCHES))
def test_a_packed_sequence_equals_the_reference(given: Batch) -> None:
    made = model(cost=ALWAYS_PACKED)
    with torch.no_grad():
        expected = candidate_by_candidate(made, *given.inputs)
        torch.testing.assert_close(made(*given.inputs), expected, rtol=0.0, atol=1e-12)


def test_both_ways_have_the_same_gradients() -> None:
    gradients = []
    for cost in (ALWAYS_PACKED, ALWAYS_TWO_PASSES):
        made = model(cost=cost)
        made(*BATCHES["very ragged counts"].inputs).square().sum().backward()
        gradients.append([torch.as_tensor(parameter.grad) for parameter in made.parameters()])
    for packed, two in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, two, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("cost", "is_packed"), [(ALWAYS_PACKED, True), (ALWAYS_TWO_PASSES, False)])
def test_forward_takes_the_way_the_cost_model_names(cost: CostModel, is_packed: bool) -> None:
    made, given = model(torch.float32, cost), batch([6, 3], [4, 2]).to(torch.float32)
    with torch.no_grad():
        packed = made.score_packed(*given.inputs)
        two = made.cross(given.candidates_ND, given.user_index_N, [made.context(given.history_ULD, given.length_U)])
        assert not torch.equal(packed, two), "the last bits tell the two ways apart"
        assert torch.equal(made(*given.inputs), packed if is_packed else two)


@pytest.mark.parametrize("num_candidates", [4, 16, 64, 128])
def test_the_choice_changes_once_and_where_the_predictions_cross(num_candidates: int) -> None:
    sizes = [Size(length, num_candidates, 256, 4) for length in range(0, 1025, 4)]
    choices = [COSTS.prefers_packed(size) for size in sizes]
    assert choices == sorted(choices, reverse=True), "packed for short histories, two passes for long ones"
    crossover = sizes[choices.index(False)]
    two = COSTS.two_passes.seconds(4, flops.two_passes(crossover))
    packed = COSTS.packed.seconds(4, flops.packed(crossover))
    assert packed == pytest.approx(two, rel=0.05)


def test_small_requests_are_packed_and_large_ones_are_not() -> None:
    assert COSTS.prefers_packed(Size(8, 4, 256, 4))
    assert not COSTS.prefers_packed(Size(512, 128, 256, 4))
    assert not COSTS.prefers_packed(Size(8, 500, 256, 4)), "a mask over 500 candidates is work for nothing"
    assert not COSTS.prefers_packed(Size(8, 4, 256, 4), num_users=500), "many users share the calls"


def test_fitting_finds_the_costs_that_made_the_timings() -> None:
    sizes = [Size(length, 16, 256, layers) for length in (8, 64, 512) for layers in (2, 4)]
    timings = [
        Timing(
            size,
            COSTS.two_passes.seconds(size.num_layers, flops.two_passes(size)),
            COSTS.packed.seconds(size.num_layers, flops.packed(size)),
        )
        for size in sizes
    ]
    found = fit(timings)
    for ours, given in ((found.two_passes, COSTS.two_passes), (found.packed, COSTS.packed)):
        assert ours.per_layer_s == pytest.approx(given.per_layer_s)
        assert ours.per_flop_s == pytest.approx(given.per_flop_s)


def test_a_fit_never_has_a_negative_part() -> None:
    timings = [Timing(Size(8, 4, 64, 2), 1.0, 2.0), Timing(Size(512, 4, 64, 2), 0.9, 500.0)]
    found = fit(timings)
    parts = [found.two_passes.per_layer_s, found.two_passes.per_flop_s, found.packed.per_layer_s]
    assert min(*parts, found.packed.per_flop_s) == 0.0


def test_one_size_is_not_enough_to_fit() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fit([Timing(Size(8, 4, 64, 2), 1.0, 1.0)] * 3)


def test_measuring_takes_the_fastest_round_of_each_way() -> None:
    clock = [0.0]
    costs = {"two": iter([9.0, 3.0, 1.0, 2.0]), "packed": iter([9.0, 5.0, 4.0, 6.0])}

    def spend(way: str) -> None:
        clock[0] += next(costs[way])

    size = Size(8, 4, 64, 2)
    (found,) = measure([size], lambda _: (lambda: spend("two"), lambda: spend("packed")), 3, lambda: clock[0])
    assert found == Timing(size, 1.0, 4.0)


def test_flops_follow_the_formulas() -> None:
    size = Size(512, 128, 256, 4)
    assert flops.naive(size) / flops.two_passes(size) == pytest.approx(119.7, rel=0.01)
    assert flops.packed(size) / flops.two_passes(size) == pytest.approx(1.17, rel=0.01)
