"""Training on deduplicated rows gives the gradients of one copy per candidate, and those of the reference."""

import torch

from modeling.dcat.deduplication import unique_sequences
from modeling.dcat.engine import Dcat
from modeling.dcat.reference import candidate_by_candidate
from modeling.dcat.tests.batches import Batch, batch, model

GIVEN = batch([7, 2, 0, 9], [4, 5, 3, 4])


def _gradients(made: Dcat, out_ND: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    weight_ND = torch.randn(out_ND.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (out_ND * weight_ND.to(out_ND.dtype)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in made.parameters())
    return [torch.as_tensor(tensor.grad) for tensor in (*made.parameters(), *inputs)]


def _expanded(given: Batch) -> Batch:
    """One copy of its history for each candidate."""
    users = given.user_index_N
    own = torch.arange(len(users))
    return Batch(given.history_ULD[users], given.length_U[users], given.candidates_ND, own)


def _deduplicated_against(dtype: torch.dtype, is_reference: bool) -> float:
    """Greatest difference of any gradient, relative to the largest of its tensor."""
    results = []
    for is_deduplicated in (True, False):
        made, given = model(dtype), GIVEN.to(dtype)
        history, candidates = given.history_ULD.clone().requires_grad_(), given.candidates_ND.clone().requires_grad_()
        own = Batch(history, given.length_U, candidates, given.user_index_N)
        if is_deduplicated:
            out = made(*own.inputs)
        else:
            out = candidate_by_candidate(made, *own.inputs) if is_reference else made(*_expanded(own).inputs)
        results.append(_gradients(made, out, [history, candidates]))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True))


def test_gradients_equal_those_of_the_expanded_batch() -> None:
    assert _deduplicated_against(torch.float64, is_reference=False) < 1e-12
    assert _deduplicated_against(torch.float32, is_reference=False) < 1e-5


def test_gradients_equal_those_of_the_reference() -> None:
    assert _deduplicated_against(torch.float64, is_reference=True) < 1e-11


def test_unique_sequences_and_their_inverse_give_the_batch_back() -> None:
    key = torch.tensor([7, 3, 7, 7, 9, 3])
    rows = key[:, None] * torch.ones(6, 4, dtype=torch.int64)
    first, inverse = unique_sequences(key)
    assert first.tolist() == [1, 0, 4]
    assert torch.equal(rows[first][inverse], rows)


def test_a_row_of_an_expanded_batch_trains_as_its_deduplicated_form() -> None:
    made, expanded = model(), _expanded(GIVEN)
    first, inverse = unique_sequences(GIVEN.user_index_N)
    with torch.no_grad():
        found = made(expanded.history_ULD[first], expanded.length_U[first], expanded.candidates_ND, inverse)
        torch.testing.assert_close(found, made(*expanded.inputs), rtol=0.0, atol=1e-12)
