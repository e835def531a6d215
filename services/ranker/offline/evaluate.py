"""What ranking does to retrieval's order, and how good the probabilities are.

Shapes: U users, C candidates, H heads, P pins.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from modeling.arrays import AnyArray, Bools, Floats, Ints
from modeling.calibration import Platt, fit_platt
from modeling.evaluation import auc, calibration_error, log_loss, summarise_ranks
from modeling.history_window import HistoryWindow, windows_at_end
from modeling.interactions import Interactions
from services.ranker.domain.features import HEADS, MAX_HISTORY
from services.ranker.domain.history_ranker import HistoryRanker
from services.ranker.domain.utility import DEFAULT_WEIGHTS, utility
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.fitting import RequestTensors
from services.ranker.offline.retrieval_features import RetrievalModel

NUM_CANDIDATES = 300
NUM_POPULAR = 60  # the pool's share from popularity, the rest from co_engaged, as a surface would mix them
LABEL_DELAY_MS = 1_000  # "now" of a held-out request: just after the last event that was kept

TensorsOf = Callable[[Requests], RequestTensors]


def evaluate_order(
    model: HistoryRanker, train: Interactions, label_U: Ints, retrieval: RetrievalModel, tensors_of: TensorsOf
) -> dict[str, dict[str, float]]:
    """Leave-last-out over all unseen pins: the pool in retrieval's order, and the same pool ranked."""
    window = windows_at_end(train, MAX_HISTORY)
    retrieval_ranks, ranked_ranks = [], []
    for user in np.flatnonzero(label_U >= 0):
        request = _pool(train, retrieval, window, int(user))
        found = np.flatnonzero(request.pin_RC[0] == label_U[user])
        if not len(found):
            retrieval_ranks.append(-1)
            ranked_ranks.append(-1)
            continue
        utility_C = _utility(model, tensors_of(request))
        retrieval_ranks.append(int(found[0]))
        ranked_ranks.append(int((utility_C >= utility_C[found[0]]).sum()) - 1)
    return {
        "retrieval_order": summarise_ranks(np.asarray(retrieval_ranks)),
        "ranker": summarise_ranks(np.asarray(ranked_ranks)),
    }


def evaluate_heads(probability_NH: Floats, label_NH: Bools) -> dict[str, dict[str, float]]:
    """AUC, log loss and calibration error of every head that has both labels."""
    rows = {}
    for column, head in enumerate(HEADS):
        label_N, probability_N = label_NH[:, column], probability_NH[:, column]
        if label_N.any() and not label_N.all():
            rows[head] = {
                "auc": auc(label_N, probability_N),
                "log_loss": log_loss(label_N, probability_N),
                "calibration_error": calibration_error(label_N, probability_N),
            }
    return rows


def calibrate(logit_NH: Floats, label_NH: Bools) -> dict[str, Platt]:
    """One scale and bias per head; the identity for heads without labels."""
    return {head: fit_platt(logit_NH[:, column], label_NH[:, column]) for column, head in enumerate(HEADS)}


@torch.no_grad()
def held_out_logits(model: HistoryRanker, requests: Requests, tensors: RequestTensors) -> tuple[Floats, Bools]:
    """Logits and labels of every real candidate, flat [N, H]."""
    batches = np.array_split(np.arange(len(requests)), 1 + len(requests) // 256)
    logit_RCH = np.concatenate([model(tensors.inputs(rows)).numpy() for rows in batches])
    is_real_RC = requests.pin_RC != PADDING
    return logit_RCH[is_real_RC], requests.label_RCH[is_real_RC] > 0


@torch.no_grad()
def golden_request(tensors: RequestTensors) -> Mapping[str, AnyArray]:
    """The first request's tensors without the request axis."""
    return {name: value[0].numpy() for name, value in tensors.inputs(np.asarray([0])).items()}


@torch.no_grad()
def _utility(model: HistoryRanker, tensors: RequestTensors) -> Floats:
    logit_CH = model(tensors.inputs(np.asarray([0])))[0].numpy()
    probabilities = {head: Platt()(logit_CH[:, column]) for column, head in enumerate(HEADS)}
    return utility(probabilities, DEFAULT_WEIGHTS).astype(np.float32)


def _pool(train: Interactions, retrieval: RetrievalModel, window: HistoryWindow, user: int) -> Requests:
    """The candidates a surface would rank for this user now, in retrieval's order."""
    row = slice(user, user + 1)
    is_seen_P = np.zeros(train.num_pins, dtype=np.bool_)
    is_seen_P[train.pin_E[train.starts[user] : train.starts[user + 1]]] = True
    scores = retrieval.scores(window.pin_BL[user], is_seen_P)
    best = [np.argsort(-scores[name], kind="stable") for name in ("co_engaged", "popular")]
    wanted = [*best[0][: NUM_CANDIDATES - NUM_POPULAR], *best[1][:NUM_CANDIDATES]]
    pins = np.asarray([pin for pin in dict.fromkeys(wanted) if not is_seen_P[pin]][:NUM_CANDIDATES], dtype=np.int64)
    score_CG = np.stack([column[pins] for column in scores.values()], axis=1)
    label_1CH = np.zeros((1, len(pins), len(HEADS)), dtype=np.float32)
    now_ms = window.time_ms_BL[row, -1] + LABEL_DELAY_MS
    history = HistoryWindow(window.pin_BL[row], window.type_BL[row], window.time_ms_BL[row])
    return Requests(history, now_ms, pins[None], label_1CH, score_CG[None])
