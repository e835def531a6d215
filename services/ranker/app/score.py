"""One scoring at the leaf: pick the model, let it answer with the requests that come at the same time."""

from collections.abc import Collection
from dataclasses import dataclass

from chassis.errors import NotFound, Unavailable
from services.ranker.app.batching import Batcher
from services.ranker.app.shadow import Shadows
from services.ranker.domain.hosted_model import Answer, HostedModel, ScoreAsk


@dataclass(frozen=True)
class Scored:
    """An answer, the model version that gave it, and the one that answers when none is named."""

    answer: Answer
    model: str
    model_version: str
    current_version: str


@dataclass(frozen=True)
class Versions:
    """The version in use and the one before it, for roots whose payload was trimmed for that."""

    current: HostedModel
    previous: HostedModel | None = None

    def pick(self, version: str) -> HostedModel:
        """The named one of the two, else the current one."""
        is_previous = self.previous is not None and version == self.previous.version != self.current.version
        return self.previous if is_previous and self.previous is not None else self.current


class HostedModels:
    """The models in use by name, each behind one reference; requests in flight keep the one they took."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._models: dict[str, Versions] = {}

    def put(self, name: str, model: HostedModel) -> None:
        """Use this version from now on; the one before stays for requests that name it."""
        before = self._models.get(name)
        self._models[name] = Versions(model, before.current if before else None)

    def current(self, name: str) -> HostedModel | None:
        """The version in use; None when none was released to this leaf."""
        versions = self._models.get(name)
        return versions.current if versions else None

    def get(self, name: str) -> Versions:
        """Raises: NotFound for a model that this leaf does not follow, Unavailable when no version was released yet."""
        if name not in self._names:
            raise NotFound(f"model {name[:100]!r} is not among those of this leaf", field="model")
        versions = self._models.get(name)
        if versions is None:
            raise Unavailable(f"no version of model {name!r} is hosted here yet", reason="no_model")
        return versions


class Score:
    """The use case behind ScoringService.Score."""

    def __init__(self, models: HostedModels, batcher: Batcher, shadows: Shadows) -> None:
        self._models = models
        self._batcher = batcher
        self._shadows = shadows

    async def __call__(self, model_name: str, ask: ScoreAsk, model_version: str = "") -> Scored:
        """The named version's answer, the current one's when it is not hosted.

        Raises: NotFound for an unknown model, Unavailable without a version of it or with too many requests waiting,
        Invalid for tensors that cannot be a request.
        """
        versions = self._models.get(model_name)
        model = versions.pick(model_version)
        answer = await self._batcher.answer(model, ask)
        self._shadows.offer(ask, answer)
        return Scored(answer, model_name, model.version, versions.current.version)
