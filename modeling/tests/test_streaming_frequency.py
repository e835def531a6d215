"""The estimate converges on the true share of batches, and follows Yi et al. step by step."""

import math

import pytest
import torch

from modeling.streaming_frequency import FIRST_GAP, StreamingFrequency


def test_one_item_follows_the_formula() -> None:
    frequency = StreamingFrequency(1 << 12, num_hashes=1, rate=0.3)
    gap, last_row, seen = FIRST_GAP, 0, 0
    batches = [[1, 2], [5, 1], [5, 5], [3, 4], [1, 1], [2, 5], [5, 5], [5, 1]]
    for number, batch in enumerate(batches, start=1):
        frequency.update(torch.tensor(batch))
        count = batch.count(5)
        if count:
            seen += count
            rate = max(count / seen, 1 - 0.7**count)
            gap = (1 - rate) * gap + rate * (2 * number - last_row) / count
            last_row = 2 * number
    assert math.isclose(float(frequency.log_q(torch.tensor([5]))[0]), -math.log(gap), rel_tol=1e-6)


def test_estimates_converge_on_the_share_of_rows_even_in_batches_that_hold_an_item_many_times() -> None:
    torch.manual_seed(0)
    share = torch.tensor([0.6, 0.3, 0.09, 0.01])
    frequency = StreamingFrequency(1 << 14)
    for _ in range(200):
        frequency.update(torch.multinomial(share, 64, replacement=True))
    torch.testing.assert_close(frequency.log_q(torch.arange(4)).exp(), share, rtol=0.25, atol=0.0)


def test_several_hashes_keep_collisions_from_making_rare_items_frequent() -> None:
    torch.manual_seed(0)
    items = torch.arange(60)
    one, several = (StreamingFrequency(64, num_hashes=number, rate=0.1) for number in (1, 4))
    for step in range(1_200):
        drawn = items[step % 60 : step % 60 + 1]  # every item once in 60 batches
        one.update(drawn)
        several.update(drawn)
    error = [float((f.log_q(items).exp() - 1 / 60).abs().mean()) for f in (one, several)]
    assert error[1] < 0.5 * error[0]


def test_a_restored_estimate_goes_on_alike_and_another_size_is_refused() -> None:
    first, second = StreamingFrequency(128), StreamingFrequency(128)
    first.update(torch.arange(9))
    second.load_state_dict(first.state_dict())
    for frequency in (first, second):
        frequency.update(torch.tensor([1, 2]))
    torch.testing.assert_close(first.log_q(torch.arange(9)), second.log_q(torch.arange(9)))
    with pytest.raises(ValueError, match="sizes"):
        StreamingFrequency(64).load_state_dict(first.state_dict())
