"""The guards of the context as one report: the tower against a history-only twin, over several seeds."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from modeling.training import Progress, silent
from services.cg.offline.comparison import Question
from services.cg.offline.context_guards import recall_by_context, related_requests
from services.cg.offline.contextual_fitting import Extras, fit_contextual, plan_for

K = 100


def guards_report(question: Question, seeds: Sequence[int], progress: Progress = silent) -> dict[str, float]:
    """Means over seeds of recall@100 on related requests; empty where pins have no interests.

    `true_over_history_only` must be at least 2, `removed_over_history_only` at least 0.9.
    """
    requests = related_requests(question.train, question.label_U, question.pins, seed=0)
    if not len(requests.user_U):
        return {}
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, context_dropout in (("contextual", 0.5), ("history_only", 1.0)):
            extras = Extras(settings={"context_dropout": context_dropout}, progress=progress)
            trainer = fit_contextual(question.train, question.pins, plan_for(question.train, seed), extras)
            recall = recall_by_context(trainer, question.train, requests, K, seed)
            for context, value in asdict(recall).items():
                found.setdefault(f"{name}_{context}", []).append(value)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    floor = max(means["history_only_removed"], 1e-9)
    return {
        "num_requests": float(len(requests.user_U)),
        **means,
        "true_over_history_only": means["contextual_true"] / floor,
        "removed_over_history_only": means["contextual_removed"] / floor,
    }
