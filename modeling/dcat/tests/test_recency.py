"""Scores that fall with the distance of a key, and the states of all events: both against the slow truth."""

import pytest
import torch

from modeling.dcat.reference import candidate_by_candidate
from modeling.dcat.tests.batches import ALWAYS_PACKED, ALWAYS_TWO_PASSES, batch, model


@pytest.mark.parametrize("cost", [ALWAYS_TWO_PASSES, ALWAYS_PACKED], ids=["two passes", "packed"])
@pytest.mark.parametrize("lengths", [[7], [3, 9, 1], [0, 5, 0], [140, 20]])
def test_with_recency_both_ways_equal_the_reference(cost: object, lengths: list[int]) -> None:
    made, given = model(cost=cost, has_recency=True), batch(lengths, [3] * len(lengths))  # type: ignore[arg-type]
    with torch.no_grad():
        expected = candidate_by_candidate(made, *given.inputs)
        torch.testing.assert_close(made(*given.inputs), expected, rtol=0.0, atol=1e-12)
        without = candidate_by_candidate(model(), *given.inputs)
    assert max(lengths) < 2 or float((expected - without).abs().max()) > 1e-3, "the slopes must be felt"


def test_with_recency_the_gradients_equal_those_of_the_reference() -> None:
    given, found = batch([7, 2, 0, 9], [4, 5, 3, 4]), []
    for forward in (lambda made: made(*given.inputs), lambda made: candidate_by_candidate(made, *given.inputs)):
        made = model(has_recency=True)
        forward(made).square().sum().backward()
        found.append([torch.as_tensor(parameter.grad) for parameter in made.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("has_recency", [False, True])
def test_the_state_of_an_event_is_that_of_a_candidate_after_those_before_it(has_recency: bool) -> None:
    made, given = model(has_recency=has_recency), batch([7, 2, 9], [1, 1, 1])
    with torch.no_grad():
        states_ULD = made.states(given.history_ULD)
        for user, length in enumerate(given.length_U.tolist()):
            for place in range(length):
                row = given.history_ULD[user, place][None]
                before = candidate_by_candidate(
                    made, given.history_ULD[[user]], torch.tensor([place]), row, torch.zeros(1, dtype=torch.int64)
                )
                torch.testing.assert_close(states_ULD[user, place], before[0], rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("has_recency", [False, True])
def test_the_newest_event_crossing_the_rest_gives_its_state(has_recency: bool) -> None:
    made, given = model(has_recency=has_recency), batch([7, 2, 9, 1], [1, 1, 1, 1])
    users, newest = torch.arange(4), given.length_U - 1
    with torch.no_grad():
        context = made.context(given.history_ULD, given.length_U).before_newest()
        crossed_UD = made.cross(given.history_ULD[users, newest], users, [context])
        torch.testing.assert_close(crossed_UD, made.states(given.history_ULD)[users, newest], rtol=0.0, atol=1e-12)
