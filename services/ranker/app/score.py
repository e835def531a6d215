"""One scoring at the leaf: pick the model, fill what is missing, run it off the event loop."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.errors import Unavailable
from modeling.arrays import AnyArray
from services.ranker.domain.hosted_model import Answer, HostedModel


@dataclass(frozen=True)
class Scored:
    """An answer and the model version that gave it."""

    answer: Answer
    model: str
    model_version: str


class HostedModels:
    """The models in use by name, each behind one reference; requests in flight keep the one they took."""

    def __init__(self) -> None:
        self._models: dict[str, HostedModel] = {}

    def put(self, name: str, model: HostedModel) -> None:
        """Use this version from now on."""
        self._models[name] = model

    def get(self, name: str) -> HostedModel:
        """Raises: Unavailable when no version of the model was released to this leaf."""
        model = self._models.get(name)
        if model is None:
            raise Unavailable(f"no version of model {name!r} is hosted here yet", reason="no_model")
        return model


class Score:
    """The use case behind ScoringService.Score."""

    def __init__(self, models: HostedModels) -> None:
        self._models = models

    async def __call__(self, model_name: str, tensors: Mapping[str, AnyArray]) -> Scored:
        """Raises: Unavailable without a model, Invalid for tensors that cannot be a request."""
        model = self._models.get(model_name)
        answer = await asyncio.to_thread(model.answer, tensors)
        return Scored(answer, model_name, model.version)
