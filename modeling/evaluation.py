"""Ranking and probability metrics, as plain as they can be read.

Shapes: U users with one held-out pin each, P pins, N scored examples.
"""

from collections.abc import Mapping

import numpy as np

from modeling.arrays import Bools, Floats, Ints


def rank_of_label(scores_P: Floats, label: int, is_allowed_P: Bools) -> int:
    """0-based place of `label` among the allowed pins; ties count against it, so a constant scores nothing."""
    label_score = scores_P[label]
    is_ahead_P = (scores_P >= label_score) & is_allowed_P
    return int(is_ahead_P.sum()) - int(bool(is_allowed_P[label]))


def summarise_ranks(rank_U: Ints) -> dict[str, float]:
    """Recall@{10,100,1000} (a hit, with one label) and NDCG@10 over 0-based ranks; a missing label has rank -1."""
    found = rank_U >= 0
    gain_U = np.where(found & (rank_U < 10), 1.0 / np.log2(np.maximum(rank_U, 0) + 2.0), 0.0)
    count = max(1, len(rank_U))
    return {
        **{f"recall@{k}": float(hits(rank_U, k).sum() / count) for k in (10, 100, 1_000)},
        "ndcg@10": float(gain_U.sum() / count),
        "ndcg@10_standard_error": float(gain_U.std() / np.sqrt(count)) if len(rank_U) else 0.0,
        "num_users": float(len(rank_U)),
    }


def hits(rank_U: Ints, k: int) -> Floats:
    """1 where the label is among the first `k`, else 0 [U]."""
    return ((rank_U >= 0) & (rank_U < k)).astype(np.float32)


def auc(label_N: Bools, score_N: Floats) -> float:
    """Area under the ROC curve; 0.5 when one class is absent."""
    num_positive, num_negative = int(label_N.sum()), int((~label_N).sum())
    if not num_positive or not num_negative:
        return 0.5
    order = np.argsort(score_N, kind="stable")
    sorted_scores = score_N[order]
    first = np.searchsorted(sorted_scores, score_N, side="left")
    last = np.searchsorted(sorted_scores, score_N, side="right")
    mean_rank_N = (first + last + 1) / 2.0  # ties share their mean rank
    rank_sum = float(mean_rank_N[label_N].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def log_loss(label_N: Bools, probability_N: Floats) -> float:
    """Mean negative log likelihood, natural logarithm."""
    clipped_N = np.clip(probability_N.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.where(label_N, np.log(clipped_N), np.log1p(-clipped_N)).mean())


def calibration_error(label_N: Bools, probability_N: Floats, num_bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    order = np.argsort(probability_N, kind="stable")
    bins = [b for b in np.array_split(order, num_bins) if len(b)]
    gaps = [len(b) * abs(float(label_N[b].mean()) - float(probability_N[b].mean())) for b in bins]
    return float(sum(gaps) / max(1, len(order)))


def honest_error(probability_N: Floats, num_draws: int = 20, seed: int = 17) -> float:
    """The calibration error that right probabilities would show on as many examples: mean over labels drawn from them.

    Bins of few examples are off by chance alone; an error near this one cannot be told from none.
    """
    random = np.random.default_rng(seed)
    draws = [random.random(len(probability_N)) < probability_N for _ in range(num_draws)]
    return float(np.mean([calibration_error(label_N, probability_N) for label_N in draws]))


def as_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A plain text table of metrics, one line per model."""
    names = [name for name in next(iter(rows.values()), {}) if name != "num_users"]
    lines = [f"{'':24s}" + "".join(f"  {name}" for name in names)]
    lines += [
        f"{model:24s}" + "".join(f"{row[name]:{len(name) + 2}.4f}" for name in names) for model, row in rows.items()
    ]
    return "\n".join(lines)
