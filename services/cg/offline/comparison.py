"""Every generator that learns, and the baselines it has to meet, on the same held-out pins over several seeds.

Chronological leave-last-out, all unseen pins ranked: on a surface without a subject (home), and on one with (related).
Shapes: S seeds (1 for models in closed form), U users with a label, P pins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.evaluation import hits, summarise_ranks
from modeling.history_window import windows_at_end
from modeling.interactions import Interactions
from modeling.intervals import bootstrap_interval, paired_difference
from modeling.item_to_item import DEFAULT_DECAY, Neighbours, fit_cosine, fit_ease
from modeling.training import Progress, silent
from services.cg.domain.merge import RANK_OFFSET
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.context_guards import related_requests
from services.cg.offline.contextual_fitting import Extras, fit_contextual, plan_for
from services.cg.offline.ranking import ScoreUser, history_scorer, popularity_scorer, ranks_of
from services.cg.offline.sasrec import sasrec_scores
from services.cg.offline.surfaces import ScoreRelated, content_scorer, related_ranks, subject_scorer
from services.cg.offline.two_tower_training import fit, plain_plan

CUTS = (10, 100, 1_000)
MERGED = "all generators"
MERGED_WEIGHTS: Mapping[str, float] = {"two_tower": 1.0, "contextual": 1.0, "co_engaged": 1.0, "popularity": 0.2}
NUM_CANDIDATES = 300
MOST_NEIGHBOURS = 5_000  # weights per pin of a baseline: all of them in catalogues up to this size
PEERS = ("ease_recency", "two_tower")  # whom the contextual tower is compared with, user by user
CONTENT = "content"  # generator `related`: only where there is a subject
LEARNT = ("two_tower", "sasrec", "contextual")


@dataclass(frozen=True)
class Question:
    """What is left of everybody's events, the pin that followed, and the pins."""

    train: Interactions
    label_U: Ints
    pins: PinFeatures


@dataclass(frozen=True)
class Scorer:
    """One fitted model on both kinds of surface; one that knows no subject answers as without."""

    home: ScoreUser
    related: ScoreRelated


def compare(
    question: Question,
    seeds: Sequence[int],
    models: Sequence[str] = LEARNT,
    progress: Progress = silent,
    fitted: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Recall with intervals per surface and model and of all generators together, and paired differences of the
    contextual tower. `fitted` hears of each model that is ready."""
    scorers = {name: [scorer] for name, scorer in _closed(question.train).items()}
    fitted("baselines")
    for name in models:
        for seed in seeds:
            scorers.setdefault(name, []).append(_LEARNT[name](question, seed, progress))
            fitted(f"{name}, seed {seed}")
    homes = {name: [scorer.home for scorer in each] for name, each in scorers.items()}
    ranks = {name: _ranks(question, each) for name, each in homes.items()}
    if set(MERGED_WEIGHTS) <= scorers.keys():
        ranks[MERGED] = _merged_ranks(question, homes, len(seeds))
    report: dict[str, Any] = {
        "num_users": int((question.label_U >= 0).sum()),
        "num_pins": question.train.num_pins,
        "seeds": list(seeds),
        "models": {name: _row(rank_SU) for name, rank_SU in ranks.items()},
    }
    if "contextual" in ranks:
        peers = [peer for peer in PEERS if peer in ranks]
        report["contextual_minus"] = {peer: _differences(ranks["contextual"], ranks[peer]) for peer in peers}
    return report | _related(question, scorers)


def _related(question: Question, scorers: Mapping[str, Sequence[Scorer]]) -> dict[str, Any]:
    """Nothing where pins have no topics: no subject can be chosen."""
    requests = related_requests(question.train, question.label_U, question.pins, seed=0)
    if not len(requests.user_U):
        return {}
    by_model = {name: [scorer.related for scorer in each] for name, each in scorers.items()}
    if question.pins.content_PC.any():
        by_model[CONTENT] = [content_scorer(question.pins)]
    rows = {
        name: _row(np.stack([related_ranks(question.train, requests, score) for score in each]))
        for name, each in by_model.items()
    }
    return {"related": {"num_requests": len(requests.user_U), "models": rows}}


def _closed(train: Interactions) -> dict[str, Scorer]:
    """Baselines with all their weights; `co_engaged` with those that serving keeps."""
    matrix_UP = train.matrix()
    num_kept = min(train.num_pins, MOST_NEIGHBOURS)
    cosine = fit_cosine(matrix_UP, num_kept)
    ease = fit_ease(matrix_UP, num_neighbours=num_kept)
    counts_P = matrix_UP.sum(axis=0)
    return {
        "popularity": _without_subject(lambda _: counts_P),
        "popularity_decayed": _without_subject(popularity_scorer(train)),
        "item_knn": _item_to_item(train, cosine, decay=1.0),
        "item_knn_recency": _item_to_item(train, cosine),
        "ease": _item_to_item(train, ease, decay=1.0),
        "ease_recency": _item_to_item(train, ease),
        "co_engaged": _item_to_item(train, fit_ease(matrix_UP)),
    }


def _item_to_item(train: Interactions, neighbours: Neighbours, decay: float = DEFAULT_DECAY) -> Scorer:
    return Scorer(history_scorer(train, neighbours, decay), subject_scorer(train, neighbours, decay))


def _without_subject(score_user: ScoreUser) -> Scorer:
    return Scorer(score_user, lambda user, _: score_user(user))


def _two_tower(question: Question, seed: int, progress: Progress) -> Scorer:
    plan = plain_plan(int(question.train.is_new.sum()), seed)
    _, trainer = fit(question.train, question.pins, plan, progress=progress)
    return _without_subject(_product(*trainer.vectors()))


def _contextual(question: Question, seed: int, progress: Progress) -> Scorer:
    trainer = fit_contextual(question.train, question.pins, plan_for(question.train, seed), Extras(progress=progress))
    window = windows_at_end(question.train, trainer.model.settings.max_history)
    hidden_UD, item_PV = trainer.hidden(window), trainer.item_vectors()

    def related(user: int, subject: int) -> Floats:
        return np.asarray(item_PV @ trainer.user_vectors(hidden_UD[[user]], np.asarray([subject]))[0])

    return Scorer(_product(trainer.user_vectors(hidden_UD), item_PV), related)


def _sasrec(question: Question, seed: int, progress: Progress) -> Scorer:
    score_UP = sasrec_scores(question.train, plan_for(question.train, seed), progress)
    return _without_subject(lambda user: score_UP[user])


_LEARNT: Mapping[str, Callable[[Question, int, Progress], Scorer]] = {
    "two_tower": _two_tower,
    "sasrec": _sasrec,
    "contextual": _contextual,
}


def _product(user_UV: Floats, item_PV: Floats) -> ScoreUser:
    return lambda user: np.asarray(item_PV @ user_UV[user])


def _ranks(question: Question, scorers: Sequence[ScoreUser]) -> Ints:
    return np.stack([ranks_of(question.train, question.label_U, score_user) for score_user in scorers])


def _merged_ranks(question: Question, scorers: Mapping[str, Sequence[ScoreUser]], num_seeds: int) -> Ints:
    """What serving does: each generator hands over its best, reciprocal ranks are added up by weight."""

    def merged(seed: int) -> ScoreUser:
        parts = [(w, scorers[name][seed % len(scorers[name])]) for name, w in MERGED_WEIGHTS.items()]
        return lambda user: _reciprocal_ranks([(w, score(user)) for w, score in parts], _seen(question.train, user))

    return _ranks(question, [merged(seed) for seed in range(num_seeds)])


def _reciprocal_ranks(parts: Sequence[tuple[float, Floats]], seen: Ints) -> Floats:
    gain_P = np.zeros(len(parts[0][1]), dtype=np.float64)
    for weight, score_P in parts:
        unseen_P = score_P.astype(np.float64)
        unseen_P[seen] = -np.inf
        best_K = np.argsort(-unseen_P, kind="stable")[:NUM_CANDIDATES]
        gain_P[best_K] += weight / (RANK_OFFSET + np.arange(len(best_K)))
    # what no generator returned is no candidate; a tie with the label would count against it anyway
    return gain_P.astype(np.float32)


def _seen(train: Interactions, user: int) -> Ints:
    return train.pin_E[train.starts[user] : train.starts[user + 1]]


def _row(rank_SU: Ints) -> dict[str, Any]:
    summaries = [summarise_ranks(rank_U) for rank_U in rank_SU]
    row: dict[str, Any] = {"ndcg@10": float(np.mean([summary["ndcg@10"] for summary in summaries]))}
    for k in (*CUTS, NUM_CANDIDATES):
        row[f"recall@{k}"] = asdict(bootstrap_interval(hits(rank_SU, k)))
    row["recall@100_by_seed"] = [summary["recall@100"] for summary in summaries]
    return row


def _differences(ours_SU: Ints, theirs_SU: Ints) -> dict[str, Any]:
    """Mean over the seeds of both sides, user by user."""
    found = {f"recall@{k}": paired_difference(hits(ours_SU, k), hits(theirs_SU, k).mean(axis=0)) for k in CUTS}
    return {name: asdict(interval) for name, interval in found.items()}
