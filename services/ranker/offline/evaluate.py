"""What ranking does to retrieval's order, and how good the probabilities are.

Shapes: U users, C candidates, H heads, P pins.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from modeling.arrays import AnyArray, Doubles, Floats, Ints
from modeling.calibration import Platt
from modeling.evaluation import summarise_ranks
from modeling.history_window import HistoryWindow, windows_at_end
from modeling.interactions import Interactions
from services.ranker.domain.features import HEADS, MAX_HISTORY, NO_SCORE, SURFACE_ROW
from services.ranker.domain.history_ranker import HistoryRanker
from services.ranker.domain.utility import DEFAULT_WEIGHTS, utility
from services.ranker.offline.calibrating import Examples
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.fitting import RequestTensors
from services.ranker.offline.retrieval_features import RetrievalModel

NUM_CANDIDATES = 300
NUM_POPULAR = 60  # the pool's share from popularity, the rest from co_engaged, as a surface would mix them
LABEL_DELAY_MS = 1_000  # "now" of a held-out request: just after the last event that was kept
AWAY_MS = 30 * 24 * 3_600 * 1_000
AWAY = "ranker_after_30_days"  # its row in reports

BATCH_CANDIDATES = 20_000  # scored at once: some hundred MB of activations

TensorsOf = Callable[[Requests], RequestTensors]


@dataclass(frozen=True)
class Pools:
    """A request per user with a label: candidates in retrieval's order; the label's column, -1 = none."""

    requests: Requests
    column_U: Ints


def evaluate_order(
    model: HistoryRanker, train: Interactions, label_U: Ints, retrieval: RetrievalModel, tensors_of: TensorsOf
) -> dict[str, dict[str, float]]:
    """Leave-last-out over all unseen pins: the pool in retrieval's order, and the same pool ranked at once, and after
    thirty days away."""
    found = pools(train, label_U, retrieval)

    def ranked(requests: Requests) -> dict[str, float]:
        return summarise_ranks(ranks(found, utilities(all_logits(model, requests, tensors_of(requests)))))

    return {
        "retrieval_order": summarise_ranks(found.column_U),
        "ranker": ranked(found.requests),
        AWAY: ranked(after_30_days(found.requests)),
    }


def after_30_days(requests: Requests) -> Requests:
    """The same people with the same histories, who were away."""
    return replace(requests, time_ms_R=requests.time_ms_R + AWAY_MS)


def pools(train: Interactions, label_U: Ints, retrieval: RetrievalModel) -> Pools:
    """What a surface would rank for every user with a label, just after the last event that was kept."""
    window, rows, columns = windows_at_end(train, MAX_HISTORY), [], []
    user_U = np.flatnonzero(label_U >= 0)
    for user in user_U:
        pins, score_CG = _pool(train, retrieval, window, int(user))
        at = np.flatnonzero(pins == label_U[user])
        columns.append(int(at[0]) if len(at) else -1)
        rows.append((pins, score_CG))
    pin_UC = np.full((len(rows), NUM_CANDIDATES), PADDING, dtype=np.int64)
    score_UCG = np.full((len(rows), NUM_CANDIDATES, 2), NO_SCORE, dtype=np.float32)
    for row, (pins, score_CG) in enumerate(rows):
        pin_UC[row, : len(pins)], score_UCG[row, : len(pins)] = pins, score_CG
    history = HistoryWindow(window.pin_BL[user_U], window.type_BL[user_U], window.time_ms_BL[user_U])
    label_UCH = np.zeros((*pin_UC.shape, len(HEADS)), dtype=np.float32)
    now_ms_U = window.time_ms_BL[user_U, -1] + LABEL_DELAY_MS
    surface_U = np.full(len(rows), SURFACE_ROW["home"])
    requests = Requests(user_U, history, now_ms_U, pin_UC, label_UCH, score_UCG, surface_U)
    return Pools(requests, np.asarray(columns, dtype=np.int64))


def ranks(found: Pools, score_UC: Floats | Doubles) -> Ints:
    """0-based rank of each label by falling score [U]; ties count against it, -1 = not a candidate."""
    open_UC = np.where(found.requests.pin_RC == PADDING, -np.inf, score_UC).astype(np.float64)
    label_U1 = np.take_along_axis(open_UC, np.maximum(found.column_U, 0)[:, None], axis=1)
    return np.where(found.column_U < 0, -1, (open_UC >= label_U1).sum(axis=1) - 1)


def utilities(logit_RCH: Floats) -> Doubles:
    """By the default weights [R, C]."""
    probabilities = {head: Platt()(logit_RCH[..., column]) for column, head in enumerate(HEADS)}
    return utility(probabilities, DEFAULT_WEIGHTS)


def held_out_examples(model: nn.Module, requests: Requests, tensors: RequestTensors) -> Examples:
    """Every real candidate of the requests, flat."""
    logit_RCH, is_real_RC = all_logits(model, requests, tensors), requests.pin_RC != PADDING
    request_N = np.nonzero(is_real_RC)[0]
    label_NH = requests.label_RCH[is_real_RC] > 0
    return Examples(logit_RCH[is_real_RC], label_NH, requests.surface_R[request_N], request_N)


@torch.no_grad()
def all_logits(model: nn.Module, requests: Requests, tensors: RequestTensors) -> Floats:
    """Logits of every row [R, C, H]; those of padding mean nothing."""
    batches = np.array_split(np.arange(len(requests)), 1 + requests.pin_RC.size // BATCH_CANDIDATES)
    return np.concatenate([model(tensors.inputs(rows)).numpy() for rows in batches])


@torch.no_grad()
def golden_request(tensors: RequestTensors) -> Mapping[str, AnyArray]:
    """The first request's tensors without the request axis."""
    return {name: value[0].numpy() for name, value in tensors.inputs(np.asarray([0])).items()}


def _pool(train: Interactions, retrieval: RetrievalModel, window: HistoryWindow, user: int) -> tuple[Ints, Floats]:
    """The candidates in retrieval's order, and what each generator says of them."""
    is_seen_P = np.zeros(train.num_pins, dtype=np.bool_)
    is_seen_P[train.pin_E[train.starts[user] : train.starts[user + 1]]] = True
    scores = retrieval.scores(window.pin_BL[user], is_seen_P)
    best = [np.argsort(-scores[name], kind="stable") for name in ("co_engaged", "popular")]
    wanted = [*best[0][: NUM_CANDIDATES - NUM_POPULAR], *best[1][:NUM_CANDIDATES]]
    pins = np.asarray([pin for pin in dict.fromkeys(wanted) if not is_seen_P[pin]][:NUM_CANDIDATES], dtype=np.int64)
    return pins, np.stack([column[pins] for column in scores.values()], axis=1)
