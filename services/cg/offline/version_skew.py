"""What it costs when queries and index come from different versions of the contextual tower, and states lag behind.

A release is an eighth of all events: version v has seen everything, v-1 all but the newest eighth of each person's,
v-2 all but two. The query tower is always v; the index is made by v, v-1 or v-2. Versions are either trained anew, each
with a seed of its own, or continued from the one before. Shapes: U users with a label, V vector width, D hidden width.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.evaluation import hits
from modeling.history_window import windows_at_end, windows_before
from modeling.interactions import Interactions
from modeling.intervals import bootstrap_interval
from modeling.training import Progress, silent
from services.cg.domain.two_tower_contextual import ContextualTwoTower
from services.cg.offline.comparison import Question
from services.cg.offline.contextual_fitting import TARGET_STEPS, Extras, fit_contextual, plan_for
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.ranking import ranks_of

SHARE_PER_RELEASE = 0.125
INDEX_VERSIONS = ("v", "v-1", "v-2")
REGIMES = ("trained anew", "continued")
CUTS = (10, 100)
STATES_BEHIND = (0, 1, 5, 10, 20, 50)  # events that a stored state has not seen
CONTINUED_EPOCHS_SHARE = 0.15  # of a training from nothing: what a daily continuation takes
SEED_STEP = 1_000
FITS_PER_SEED = 6  # three versions in each regime


def skew_report(
    question: Question,
    seeds: Sequence[int],
    progress: Progress = silent,
    fitted: Callable[[str], None] = lambda _: None,
    target_steps: int = TARGET_STEPS,
) -> dict[str, Any]:
    """Recall by regime and index version, and by how many events stored states lag. Intervals over users and seeds."""
    fit = _Fit(question, progress, fitted, target_steps)
    ranks: dict[str, dict[str, list[Ints]]] = {regime: {each: [] for each in INDEX_VERSIONS} for regime in REGIMES}
    behind: dict[int, list[Ints]] = {events: [] for events in STATES_BEHIND}
    for seed in seeds:
        for regime in REGIMES:
            versions = _versions(fit, seed, regime)
            user_UV = _users(versions["v"], question.train)
            for name, trainer in versions.items():
                ranks[regime][name].append(_ranks(question, user_UV, trainer.item_vectors()))
        for events in STATES_BEHIND:  # of the last regime's newest version
            user_UV = _users(versions["v"], question.train, events)
            behind[events].append(_ranks(question, user_UV, versions["v"].item_vectors()))
    return {
        "num_users": int((question.label_U >= 0).sum()),
        "seeds": list(seeds),
        "index_version": {regime: {name: _row(each) for name, each in of.items()} for regime, of in ranks.items()},
        "state_behind_events": {str(events): _row(each) for events, each in behind.items()},
    }


@dataclass(frozen=True)
class _Fit:
    """What every training of a report has in common."""

    question: Question
    progress: Progress
    fitted: Callable[[str], None]
    target_steps: int

    def __call__(self, age: int, seed: int, model: ContextualTwoTower | None) -> ContextualTrainer:
        """Version v-`age`; with a model, gone on from it for a part of the steps."""
        events = _without_newest(self.question.train, age * SHARE_PER_RELEASE)
        plan = plan_for(events, seed + age * SEED_STEP, self.target_steps)
        if model is not None:
            plan = replace(plan, num_epochs=max(1, round(plan.num_epochs * CONTINUED_EPOCHS_SHARE)))
        return fit_contextual(events, self.question.pins, plan, Extras(copy.deepcopy(model), progress=self.progress))


def _versions(fit: _Fit, seed: int, regime: str) -> dict[str, ContextualTrainer]:
    """The three versions, the newest first."""
    found: dict[str, ContextualTrainer] = {}
    model: ContextualTwoTower | None = None
    for age in (2, 1, 0):
        trainer = fit(age, seed, model)
        model = trainer.model if regime == "continued" else None
        found[INDEX_VERSIONS[age]] = trainer
        fit.fitted(f"{regime} {INDEX_VERSIONS[age]}, seed {seed}")
    return dict(reversed(found.items()))


def _without_newest(events: Interactions, share: float) -> Interactions:
    """Each person's events without the newest share of them, at least one of each kept."""
    num_U = np.diff(events.starts)
    kept_U = np.maximum(np.ceil(num_U * (1.0 - share)), 1).astype(np.int64)
    place_E = np.arange(len(events.user_E)) - events.starts[events.user_E]
    return events.keep(place_E < kept_U[events.user_E])


def _users(trainer: ContextualTrainer, train: Interactions, num_behind: int = 0) -> Floats:
    """Vectors of all people without a context; their histories end `num_behind` events ago."""
    length = trainer.model.settings.max_history
    if not num_behind:
        return trainer.user_vectors(trainer.hidden(windows_at_end(train, length)))
    end_U = np.maximum(train.starts[1:] - num_behind, train.starts[:-1])
    window = windows_before(train, end_U, length, np.arange(len(train.user_ids)))
    return trainer.user_vectors(trainer.hidden(window))


def _ranks(question: Question, user_UV: Floats, item_PV: Floats) -> Ints:
    return ranks_of(question.train, question.label_U, lambda user: np.asarray(item_PV @ user_UV[user]))


def _row(rank_SU: Sequence[Ints]) -> dict[str, Any]:
    return {f"recall@{k}": asdict(bootstrap_interval(hits(np.stack(rank_SU), k))) for k in CUTS}
