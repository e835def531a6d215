"""Asks for the pin features that memory has not, while the ranker works, so that the slate step seldom waits."""

import asyncio
from collections.abc import Iterable

from chassis.reason import reason_of
from services.blender.app.feature_memory import FeatureMemory
from services.blender.domain.candidate import Degradation
from services.blender.domain.pin_features import PinFeatures, join, no_features
from services.blender.ports import PinSource

REMEMBERED_LEVEL = "remembered_features"
RELEVANCE_ORDER_LEVEL = "relevance_order"


class FeaturePrefetch:
    """Of one request. Its tasks are children of the request's task group and end with it."""

    def __init__(self, source: PinSource, memory: FeatureMemory, tasks: asyncio.TaskGroup) -> None:
        self._source, self._memory, self._tasks = source, memory, tasks
        self._asked: dict[str, None] = {}  # pin ids in the order asked
        self._known: list[PinFeatures] = []
        self._answers: list[asyncio.Task[PinFeatures]] = []
        self._failure = ""

    def know(self, features: PinFeatures) -> None:
        """These need not be asked for."""
        self._known.append(features)
        self._asked.update(dict.fromkeys(features.pin_ids))

    def ask(self, pin_ids: Iterable[str]) -> None:
        """Begin to fetch the pins that were not asked for yet and are not fresh in memory; returns at once."""
        wanted = [pin_id for pin_id in dict.fromkeys(pin_ids) if pin_id and pin_id not in self._asked]
        self.know(self._memory.recall_fresh(wanted))
        missing = [pin_id for pin_id in wanted if pin_id not in self._asked]
        if missing:
            self._asked.update(dict.fromkeys(missing))
            self._answers.append(self._tasks.create_task(self._fetch(missing)))

    def ask_unless_remembered(self, pin_ids: Iterable[str]) -> None:
        """For pins that are nice to know: what memory has is good enough."""
        recalled = self._memory.recall(pin_id for pin_id in pin_ids if pin_id not in self._asked)
        self.know(recalled)
        self.ask(pin_ids)

    async def result(self, within_s: float) -> tuple[PinFeatures, list[Degradation]]:
        """Everything that came in time; memory stands in for the rest, and that is named."""
        if self._answers:
            _, late = await asyncio.wait(self._answers, timeout=within_s)
            for answer in late:
                self._failure = "deadline_exceeded"
                answer.cancel()
            self._known += [answer.result() for answer in self._answers if answer not in late]
        if not self._failure:
            return join(self._known), []
        features = join([*self._known, self._memory.recall(self._asked)])
        level = REMEMBERED_LEVEL if features.pin_ids else RELEVANCE_ORDER_LEVEL
        return features, [Degradation("indexer", self._failure, level)]

    async def _fetch(self, pin_ids: list[str]) -> PinFeatures:
        try:
            features = await self._source.get_pins(pin_ids)
        except Exception as error:  # part of the pipeline's edge: a fault here costs diversity, never the feed
            self._failure = reason_of(error)
            return no_features()
        self._memory.remember(features)
        return features

    def cancel(self) -> None:
        """The answer is made; nobody waits for what is still under way."""
        for answer in self._answers:
            answer.cancel()
