"""How good the probabilities of each head and surface are, after a calibration on other requests.

Shapes: N examples.
"""

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from modeling.calibration import fit_platt
from modeling.evaluation import auc, calibration_error, log_loss
from services.ranker.offline.calibrating import Examples, views

TOP = 10


def head_metrics(examples: Examples) -> dict[str, dict[str, float]]:
    """By head and by `surface/head`: AUC, NDCG@10 within requests, log loss and calibration error."""
    found = {}
    for name, column, is_used_N in views(examples):
        logit_N, label_N = examples.logit_NH[is_used_N, column], examples.label_NH[is_used_N, column]
        request_N = examples.request_N[is_used_N]
        probability_N = out_of_half(logit_N, label_N, request_N)
        found[name] = {
            "auc": auc(label_N, logit_N),
            "ndcg@10": ndcg(logit_N, label_N, request_N),
            "log_loss": log_loss(label_N, probability_N),
            "calibration_error": calibration_error(label_N, probability_N),
        }
    return found


def out_of_half(logit_N: Floats, label_N: Bools, request_N: Ints) -> Floats:
    """Probabilities of each half of the requests by a fit on the other half."""
    probability_N = np.empty(len(logit_N), dtype=np.float32)
    for half in (0, 1):
        is_half_N = request_N % 2 == half
        probability_N[is_half_N] = fit_platt(logit_N[~is_half_N], label_N[~is_half_N])(logit_N[is_half_N])
    return probability_N


def ndcg(score_N: Floats, label_N: Bools, request_N: Ints) -> float:
    """NDCG@10 of requests that have a label, with gain 1 for each; equal scores count against the label."""
    order = np.lexsort((label_N, -score_N, request_N))
    starts = np.flatnonzero(np.diff(request_N[order], prepend=-1))
    discount = 1.0 / np.log2(np.arange(TOP) + 2.0)
    values = []
    for rows in np.split(order, starts[1:]):
        label = label_N[rows]
        if label.any():
            first = label[:TOP]
            values.append((first * discount[: len(first)]).sum() / discount[: min(TOP, int(label.sum()))].sum())
    return float(np.mean(values)) if values else 0.0
