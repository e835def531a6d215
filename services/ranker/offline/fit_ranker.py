"""From a dataset to a calibrated, evaluated ranking model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from modeling.arrays import AnyArray
from modeling.training import Progress, TrainingPlan, seed_everything, silent
from modeling.training_data import TrainingData
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings, for_surface
from services.ranker.offline.calibrating import Calibrated, calibrate
from services.ranker.offline.evaluate import evaluate_order, golden_request, held_out_examples
from services.ranker.offline.examples import Requests
from services.ranker.offline.fitting import HistoryTensors, RequestTensors, fit
from services.ranker.offline.foresight import BesideRanking, foresight_over, foresight_plan, learn_to_foresee
from services.ranker.offline.head_metrics import head_metrics
from services.ranker.offline.material import Material, prepare
from services.ranker.offline.plan import RankerPlan
from services.ranker.offline.retrieval_features import fit_retrieval
from services.ranker.offline.watch import NOBODY, Watch
from services.ranker.outbound.bundle_model_files import ranker_files

# What foresight taught the sequence model is tuned with care, the rest learns from nothing.
RATE_SHARES = {"sequence.": 0.25, "dcat.": 0.25}

__all__ = ["FittedRanker", "RankerPlan", "fit_ranker"]


@dataclass(frozen=True)
class FittedRanker:
    """A calibrated model, what was measured, and the files of its bundle."""

    model: HistoryRanker
    calibrated: Calibrated
    golden: Mapping[str, AnyArray]
    evaluation: Mapping[str, Any]

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """The bundle for all surfaces."""
        return self._files_of(self.model)

    def files_by_surface(self) -> dict[str, Mapping[str, bytes]]:
        """A bundle per surface with the towers of all and of that surface alone."""
        return {name: self._files_of(for_surface(self.model, name)) for name in self.model.settings.surfaces}

    def _files_of(self, model: HistoryRanker) -> Mapping[str, bytes]:
        return ranker_files(model, self.calibrated.platt, self.golden, self.evaluation, self.calibrated.measured)


def fit_ranker(
    data: TrainingData, plan: RankerPlan, *, progress: Progress = silent, watch: Watch = NOBODY
) -> FittedRanker:
    """Train without each user's last event, calibrate on held-out requests, evaluate the order on the last events.

    Raises: Invalid when a checkpoint of `watch` is of another training.
    """
    material = prepare(data, plan)
    model = fit_model(material, plan, progress, watch)
    calibrated = calibrate_model(model, material)
    tensors = tensors_of(material, model.settings, material.held_out)
    examples = held_out_examples(model, material.held_out, tensors)
    evaluation = {
        "leave_last_out": evaluate_order(
            model,
            material.train,
            material.label_U,
            fit_retrieval(material.train),
            lambda rows: tensors_of(material, model.settings, rows),
        ),
        "heads": head_metrics(examples),
        "calibration": calibrated.errors,
        "num_requests": len(material.used),
    }
    return FittedRanker(model, calibrated, golden_request(tensors), evaluation)


def fit_model(
    material: Material, plan: RankerPlan, progress: Progress = silent, watch: Watch = NOBODY
) -> HistoryRanker:
    """An uncalibrated model of what may be learnt from: first histories alone, then what was chosen of candidates."""
    seed_everything(plan.seed)
    model = HistoryRanker(RankerSettings(content_width=material.pins.content_PW.shape[1]))
    foresight = foresight_over(material.parts.older, histories_of(material))
    first = foresight_plan(plan.num_foresight_epochs, plan.seed)
    then = TrainingPlan(plan.num_epochs, plan.batch_size, plan.learning_rate, seed=plan.seed, rate_shares=RATE_SHARES)
    beside = BesideRanking(model, foresight, plan.seed)
    both = watch.over((first, len(foresight)), (then, len(material.used)))
    if not both.is_ranking:  # else what it learnt is in the checkpoint of the ranking
        learn_to_foresee(model, foresight, first, progress, both.foresight)
    tensors = tensors_of(material, model.settings, material.used)
    fit(model, material.used, tensors, then, progress, beside, replace(both.ranking, parts={"beside": beside}))
    return model


def calibrate_model(model: HistoryRanker, material: Material) -> Calibrated:
    """On what was really shown and held out, else on sampled requests."""
    requests = material.for_calibration
    return calibrate(held_out_examples(model, requests, tensors_of(material, model.settings, requests)))


def histories_of(material: Material) -> HistoryTensors:
    """The model's inputs of histories."""
    return HistoryTensors(material.pins, material.train)


def tensors_of(material: Material, settings: RankerSettings, requests: Requests) -> RequestTensors:
    """The model's inputs of these requests."""
    return RequestTensors(requests, histories_of(material), settings)
