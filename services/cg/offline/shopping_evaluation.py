"""Conversion recall: of all ads, where does the one land that a person bought next?

Shapes: Q questions, L history positions, A ads.
"""

from dataclasses import dataclass

import numpy as np
import torch

from modeling.arrays import Floats, Ints
from modeling.evaluation import rank_of_label
from sequences.training_reader import ReadOptions
from services.cg.offline.shopping_data import ShoppingData
from services.cg.offline.shopping_rows import Period, RowChoice, RowsToShoppingBatch
from services.cg.offline.shopping_training import ShoppingTrainer

CUTS = (10, 100)
REQUESTS_PER_READ = 512


@dataclass(frozen=True)
class Questions:
    """Histories as of a request, and a place in the list of ads that was bought from it; one question per person."""

    pin_QL: Ints
    type_QL: Ints
    label_Q: Ints


def first_conversions(data: ShoppingData, period: Period, length: int) -> Questions:
    """The first purchase of each person in the period, with the history as of its request."""
    choice = RowChoice(period, has_engagement=False, negatives_per_request=0)
    to_batch = RowsToShoppingBatch(data.inventory, data.durations, length, choice)
    asked_of: set[int] = set()
    pins: list[Ints] = []
    types: list[Ints] = []
    labels: list[int] = []
    for rows in data.dataset.training_rows(ReadOptions(REQUESTS_PER_READ)):  # by user, then by request
        batch = to_batch(rows)
        for place, user in enumerate(batch.user_id_B.tolist()):
            if user not in asked_of:
                asked_of.add(user)
                request = int(batch.row_to_request_B[place])
                pins.append(batch.pin_RL[request].numpy())
                types.append(batch.type_RL[request].numpy())
                labels.append(int(batch.target_B[place]))
    if not labels:
        return Questions(np.zeros((0, length), np.int64), np.zeros((0, length), np.int64), np.zeros(0, np.int64))
    return Questions(np.stack(pins), np.stack(types), np.searchsorted(data.ads, np.asarray(labels)))


def ranks_of_conversions(trainer: ShoppingTrainer, data: ShoppingData, questions: Questions) -> Ints:
    """0-based rank of what was bought among all ads [Q]."""
    item_AV = trainer.item_vectors(data.ads)
    user_QV = trainer.user_vectors(questions.pin_QL, questions.type_QL)
    return ranks(user_QV @ item_AV.T, questions)


def ranks(score_QA: Floats, questions: Questions) -> Ints:
    """0-based rank of each label [Q]; ties count against it."""
    everything = np.ones(score_QA.shape[1], dtype=np.bool_)
    found = [rank_of_label(row, int(label), everything) for row, label in zip(score_QA, questions.label_Q, strict=True)]
    return np.asarray(found, dtype=np.int64)


def counts_of_conversions(data: ShoppingData, period: Period) -> Floats:
    """How often each ad was bought in the period [A]: the baseline."""
    choice = RowChoice(period, has_engagement=False, negatives_per_request=0)
    to_batch = RowsToShoppingBatch(data.inventory, data.durations, 1, choice)
    bought = [to_batch(rows).target_B for rows in data.dataset.training_rows(ReadOptions(REQUESTS_PER_READ))]
    return np.bincount(torch.cat(bought).numpy(), minlength=len(data.pin_ids))[data.ads].astype(np.float32)
