"""Two passes give what appending each candidate to the whole sequence gives, whatever the batch looks like."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from modeling.dcat.attention import _explicit, attend_history_and_self, attend_past
from modeling.dcat.engine import left_aligned
from modeling.dcat.reference import candidate_by_candidate
from modeling.dcat.tests.batches import Batch, batch, model

BATCHES = {
    "one user": batch([7], [5]),
    "equal lengths and counts": batch([6, 6, 6], [4, 4, 4]),
    "ragged lengths": batch([3, 9, 1], [4, 4, 4]),
    "ragged counts": batch([6, 6, 6], [3, 4, 2]),
    "very ragged counts": batch([5, 8, 2, 4], [1, 17, 0, 2]),
    "one event": batch([1], [3]),
    "an empty history among others": batch([0, 5, 0], [3, 3, 2]),
    "only empty histories": batch([0, 0], [2, 3], size=4),
    "no position at all": batch([0], [3]),
    "padding for everybody": batch([3, 4], [2, 2], size=9),
}


@pytest.mark.parametrize("given", BATCHES.values(), ids=list(BATCHES))
def test_two_passes_equal_the_reference_in_float64(given: Batch) -> None:
    made = model()
    with torch.no_grad():
        expected = candidate_by_candidate(made, *given.inputs)
        torch.testing.assert_close(made(*given.inputs), expected, rtol=0.0, atol=1e-12)


def test_two_passes_equal_the_reference_in_float32() -> None:
    made, given = model(torch.float32), BATCHES["very ragged counts"].to(torch.float32)
    with torch.no_grad():
        expected = candidate_by_candidate(model(), *BATCHES["very ragged counts"].inputs).float()
        error = (made(*given.inputs) - expected).norm() / expected.norm()
    assert float(error) < 1e-4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=5), st.integers(0, 99))
def test_any_ragged_batch_equals_the_reference(users: list[tuple[int, int]], seed: int) -> None:
    lengths, counts = (list(part) for part in zip(*users, strict=True))
    made, found = model(), batch(lengths, counts, seed=seed)
    with torch.no_grad():
        expected = candidate_by_candidate(made, *found.inputs)
        torch.testing.assert_close(made(*found.inputs), expected, rtol=0.0, atol=1e-12)


def test_a_wrong_share_of_the_own_key_would_be_seen() -> None:
    made, given = model(), BATCHES["one user"]
    with torch.no_grad():
        whole = candidate_by_candidate(made, *given.inputs)
        without_newest = candidate_by_candidate(made, given.history_ULD, given.length_U - 1, *given.inputs[2:])
    assert float((whole - without_newest).abs().max()) > 1e-3


def test_changing_one_candidate_leaves_the_others_bitwise_untouched() -> None:
    made, given = model(torch.float32), BATCHES["very ragged counts"].to(torch.float32)
    changed = given.candidates_ND.clone()
    changed[3] += 5.0
    with torch.no_grad():
        before, after = made(*given.inputs), made(given.history_ULD, given.length_U, changed, given.user_index_N)
    is_other = torch.arange(len(changed)) != 3
    assert torch.equal(before[is_other], after[is_other])
    assert not torch.equal(before[3], after[3])


def test_padding_may_hold_anything_finite() -> None:
    made, given = model(), BATCHES["ragged lengths"]
    dirty = given.history_ULD.clone()
    for user, length in enumerate(given.length_U.tolist()):
        dirty[user, length:] = 1e6
    with torch.no_grad():
        assert torch.equal(made(*given.inputs), made(dirty, *given.inputs[1:]))


def test_a_user_scores_the_same_alone_and_among_others() -> None:
    made, given = model(), BATCHES["very ragged counts"]
    with torch.no_grad():
        together = made(*given.inputs)
        for user, length in enumerate(given.length_U.tolist()):
            is_own = given.user_index_N == user
            alone = made(
                given.history_ULD[user : user + 1, :length],
                given.length_U[user : user + 1],
                given.candidates_ND[is_own],
                torch.zeros(int(is_own.sum()), dtype=torch.int64),
            )
            torch.testing.assert_close(together[is_own], alone, rtol=0.0, atol=1e-12)


def test_contexts_of_single_users_may_be_mixed_with_batches() -> None:
    made, given = model(), BATCHES["very ragged counts"]
    with torch.no_grad():
        whole = made.context(given.history_ULD, given.length_U)
        pair = made.context(given.history_ULD[2:], given.length_U[2:])
        contexts = [whole.of_user(0).owned(), whole.of_user(1), pair]
        found = made.cross(given.candidates_ND, given.user_index_N, contexts)
        torch.testing.assert_close(found, made(*given.inputs), rtol=0.0, atol=1e-12)


def test_no_candidates_give_no_rows() -> None:
    found = model()(*batch([4], [0]).inputs)
    assert found.shape == (0, 16)


def test_left_alignment_keeps_order_and_drops_padding() -> None:
    rows = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    moved, length = left_aligned(rows, torch.tensor([[0, 1, 0, 1], [1, 1, 1, 0]]).bool())
    assert moved[..., 0].tolist() == [[2.0, 4.0, 0.0, 0.0], [5.0, 6.0, 7.0, 0.0]]
    assert length.tolist() == [2, 3]


@pytest.mark.parametrize("length", [127, 128, 129, 300])
def test_causal_attention_in_blocks_equals_one_call_in_value_and_gradient(length: int) -> None:
    def run(attend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        parts = [torch.randn(2, 2, length, 8, dtype=torch.float64).requires_grad_() for _ in range(3)]
        out = attend(*parts)
        (out * torch.randn_like(out)).sum().backward()  # type: ignore[no-untyped-call]
        return [out, *(torch.as_tensor(part.grad) for part in parts)]

    def whole(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    for blocks, once in zip(run(attend_past), run(whole), strict=True):
        torch.testing.assert_close(blocks, once, rtol=0.0, atol=1e-12)


def test_a_history_of_several_blocks_equals_the_reference() -> None:
    made, given = model(), batch([300, 140], [2, 1])
    with torch.no_grad():
        expected = candidate_by_candidate(made, *given.inputs)
        torch.testing.assert_close(made(*given.inputs), expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("lengths", [[3, 9, 1], [6, 6, 6], [0, 5, 0]])
def test_the_fused_kernel_and_plain_operations_agree_in_value_and_gradient(lengths: list[int]) -> None:
    def run(attend: object) -> list[torch.Tensor]:
        torch.manual_seed(0)
        users, size = len(lengths), max(lengths)
        shapes = [(users, 2, 4, 8)] * 3 + [(users, 2, size, 8)] * 2
        parts = [torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in shapes]
        bias = torch.zeros(users, 1, 1, size, dtype=torch.float64)
        for user, length in enumerate(lengths):
            bias[user, ..., length:] = -torch.inf
        query, own_key, own_value, key, value = parts
        out = attend(query, (own_key, own_value), (key, value), bias)  # type: ignore[operator]
        (out * torch.randn_like(out)).sum().backward()
        assert all(part.grad is not None for part in parts)
        return [out, *(torch.as_tensor(part.grad) for part in parts)]

    for fused, plain in zip(run(attend_history_and_self), run(_explicit), strict=True):
        torch.testing.assert_close(fused, plain, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("length", "user", "message"), [(9, 0, "does not fit"), (-1, 0, "does not fit"), (2, 3, "outside 0..0")]
)
def test_lengths_and_users_that_do_not_exist_are_refused(length: int, user: int, message: str) -> None:
    given = batch([2], [1])
    with pytest.raises(ValueError, match=message):
        model()(given.history_ULD, torch.tensor([length]), given.candidates_ND, torch.tensor([user]))
