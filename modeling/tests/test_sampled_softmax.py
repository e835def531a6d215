"""The loss against a slow, obvious reference, and its masks."""

import math

import numpy as np
import torch

from modeling.sampled_softmax import (
    ExtraNegatives,
    false_negatives,
    negative_share,
    same_user_share,
    sampled_softmax,
)


def _reference(
    users: torch.Tensor, items: torch.Tensor, log_q: torch.Tensor, user: list[int], item: list[int]
) -> float:
    losses = []
    for row in range(len(user)):
        kept = [c for c in range(len(user)) if c == row or (user[c] != user[row] and item[c] != item[row])]
        if len(kept) == 1:
            continue
        logits = {c: float(users[row] @ items[c]) / 0.07 - float(log_q[c]) for c in kept}
        highest = max(logits.values())
        losses.append(math.log(sum(math.exp(v - highest) for v in logits.values())) + highest - logits[row])
    return sum(losses) / max(1, len(losses))


def test_loss_equals_the_reference_with_repeated_users_and_items() -> None:
    torch.manual_seed(0)
    user, item = [0, 0, 1, 2, 3, 3], [5, 6, 5, 7, 8, 8]
    users, items = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    log_q = torch.log(torch.rand(6, dtype=torch.float64))
    loss = sampled_softmax(users, items, log_q, torch.tensor(user), torch.tensor(item))
    assert math.isclose(float(loss), _reference(users, items, log_q, user, item), rel_tol=1e-9)


def test_a_batch_of_one_user_has_no_negative_and_no_loss() -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    loss = sampled_softmax(rows, rows, torch.zeros(4), torch.zeros(4), torch.arange(4))
    assert float(loss.detach()) == 0.0


def test_same_user_share_of_sorted_batches_is_about_a_quarter_and_masked_to_nothing() -> None:
    user = torch.from_numpy(np.repeat(np.arange(4), 256))
    assert abs(same_user_share(user) - 0.249) < 0.001
    mask = false_negatives(user, torch.arange(1024))
    assert not (~mask & (user[:, None] == user[None, :]) & ~torch.eye(1024, dtype=torch.bool)).any()


def test_weights_count_rows_and_extra_negatives_are_columns() -> None:
    torch.manual_seed(1)
    users, items, shown = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 3, 2))
    log_q, shown_log_q = torch.log(torch.rand(3, dtype=torch.float64)), torch.log(torch.rand(2, dtype=torch.float64))
    user, item, shown_item, weight = [0, 1, 2], [5, 6, 7], [6, 9], [1.0, 0.0, 0.25]
    total = 0.0
    for row in range(3):
        columns = [(items[c], log_q[c]) for c in range(3)]
        columns += [(shown[n], shown_log_q[n]) for n in range(2) if shown_item[n] != item[row]]
        logits = torch.stack([users[row] @ vector / 0.07 - q for vector, q in columns])
        total += weight[row] * float(torch.logsumexp(logits, 0) - logits[row])
    extra = ExtraNegatives(shown, shown_log_q, torch.tensor([0, 1]), torch.tensor(shown_item))
    loss = sampled_softmax(
        users, items, log_q, torch.tensor(user), torch.tensor(item), weight_B=torch.tensor(weight), extra=extra
    )
    assert math.isclose(float(loss), total / 1.25, rel_tol=1e-9)


def test_the_share_of_own_negatives_is_known_before_and_after_the_mask() -> None:
    user = torch.from_numpy(np.repeat(np.arange(4), 256))
    share = negative_share(user, false_negatives(user, torch.arange(1024)))
    assert abs(share.before - 0.249) < 0.001
    assert share.after == 0.0
    assert negative_share(user, torch.zeros(1024, 1024, dtype=torch.bool)).after == share.before
