"""One ranking at the root: read sequence and pins, trim, let the leaf score, order by utility."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from chassis import tracing
from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt
from chassis.reason import reason_of
from services.ranker.app.trimming import Trimming
from services.ranker.domain.candidates import Candidates
from services.ranker.domain.history_selection import select_events
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranked_pins import RankedPins, no_pins
from services.ranker.domain.ranking import (
    Degradation,
    PinFeatures,
    RankAsk,
    Ranked,
    Scores,
    UserSequence,
    influencing,
)
from services.ranker.domain.request_limits import check
from services.ranker.domain.served_features import Asked, served_features
from services.ranker.domain.utility import order_by_utility, retrieval_order, utility
from services.ranker.ports import FeatureLog, PinFeatureStore, RankingMeter, Scorer, Sequences, UtilityWeights

SPAN = "rank candidates"
SHORT_S = 0.04  # with less time than this a full pool cannot be scored
NUM_WHEN_SHORT = 100
READ_SHARE = 0.5  # of the time left, for each of the two reads: without them there is still something to score
ANSWER_S = 0.01  # kept for the answer itself: retrieval's order in time is better than none


class Rank:
    """The use case behind RankingService.Rank."""

    def __init__(
        self,
        sequences: Sequences,
        pins: PinFeatureStore,
        scorer: Scorer,
        weights: UtilityWeights,
        trimming: Trimming,
        meter: RankingMeter,
        feature_log: FeatureLog,
        clock: Clock,
        *,
        model: str,
        model_by_surface: Mapping[str, str] | None = None,
        max_history: int = 256,
        newest_history: int = 192,
    ) -> None:
        self._sequences = sequences
        self._pins = pins
        self._scorer = scorer
        self._weights = weights
        self._trimming = trimming
        self._meter = meter
        self._feature_log = feature_log
        self._clock = clock
        self._model = model
        self._model_by_surface = model_by_surface or {}
        self._max_history = max_history
        self._newest_history = newest_history

    async def __call__(self, ask: RankAsk, deadline: Deadline) -> Ranked:
        """Every pin once, best first; what was missing is named. Raises: Invalid."""
        check(ask)
        candidates = ask.candidates.unique()
        if not candidates:
            return Ranked(no_pins())
        ask = replace(ask, request_time_ms=ask.request_time_ms or self._clock.now_ms())
        degradations: list[Degradation] = []
        sequence, pins = await self._read(ask, candidates, deadline, degradations)
        scored = _within(candidates, deadline, degradations)
        asked = self._prepare(ask, scored, sequence, pins)
        scores = await self._score(ask, asked, deadline, degradations)
        events = influencing(sequence.events, ask.request_time_ms)
        links = [link for event in events if (link := tracing.link_from(event.traceparent))]
        with tracing.span(SPAN, links=links, attributes={"num_candidates": len(candidates)}):
            ranked = self._order(ask.surface, candidates, scores, degradations)
        for degradation in degradations:
            self._meter.degraded(degradation.component, degradation.reason)
        versions = {f"model:{scores.model}": scores.model_version} if scores else {}
        return Ranked(ranked, tuple(degradations), versions, sequence.version, events)

    async def _read(
        self, ask: RankAsk, candidates: Candidates, deadline: Deadline, degradations: list[Degradation]
    ) -> tuple[UserSequence, Mapping[str, PinFeatures]]:
        """The history, and features of the candidates at the same time; then of its pins that are not among them."""
        sequence, pins = await asyncio.gather(
            self._read_sequence(ask, deadline, degradations),
            self._read_pins(candidates.pin_ids, deadline, degradations),
        )
        if pins is None:
            return sequence, {}
        past = [pin_id for pin_id in dict.fromkeys(event.pin_id for event in sequence.events) if pin_id not in pins]
        return sequence, {**pins, **(await self._read_pins(past, deadline, degradations) or {})} if past else pins

    async def _read_sequence(self, ask: RankAsk, deadline: Deadline, degradations: list[Degradation]) -> UserSequence:
        if ask.history is not None:
            return ask.history
        try:
            return await self._sequences.recent(ask.user_id, _share(deadline))
        except CorkboardError as error:
            degradations.append(Degradation("sequence", reason_of(error), "history_free"))
            return UserSequence()

    async def _read_pins(
        self, pin_ids: Sequence[str], deadline: Deadline, degradations: list[Degradation]
    ) -> Mapping[str, PinFeatures] | None:
        try:
            return await self._pins.features(pin_ids, _share(deadline))
        except CorkboardError as error:
            degradations.append(Degradation("pin_features", reason_of(error), "default_features"))
            return None

    def _prepare(
        self,
        ask: RankAsk,
        candidates: Candidates,
        sequence: UserSequence,
        pins: Mapping[str, PinFeatures],
    ) -> Asked:
        """What the leaf is sent: tensors of the candidates and of the chosen events, trimmed for its model."""
        events = select_events(
            sequence.events, candidates, pins, max_events=self._max_history, num_newest=self._newest_history
        )
        tensors = build_tensors(candidates, events, pins, ask.request_time_ms, ask.surface)
        payload = self._trimming.payload(self._model_by_surface.get(ask.surface, self._model), tensors)
        return Asked(candidates, events, payload, sequence, pins)

    async def _score(
        self, ask: RankAsk, asked: Asked, deadline: Deadline, degradations: list[Degradation]
    ) -> Scores | None:
        payload = asked.payload
        try:
            within = deadline.capped(deadline.remaining_s() - ANSWER_S)
            scores = await self._scorer.score(payload, ask.user_id, asked.sequence.version, within)
            _check_shapes(scores, len(asked.candidates))
        except CorkboardError as error:
            degradations.append(Degradation("ranker_leaf", reason_of(error), "retrieval_order"))
            return None
        self._trimming.answered(payload.model, scores.current_version)
        traceparent, served_time_ms = tracing.current_traceparent(), self._clock.now_ms()
        self._feature_log.offer(
            lambda: served_features(
                ask,
                asked,
                scores,
                degradations,
                num_newest=self._newest_history,
                weights_version=self._weights.version,
                served_time_ms=served_time_ms,
                traceparent=traceparent,
            )
        )
        return scores

    def _order(
        self,
        surface: str,
        candidates: Candidates,
        scores: Scores | None,
        degradations: list[Degradation],
    ) -> RankedPins:
        if scores is None:
            return retrieval_order(candidates)
        heads = scores.probability_by_head
        utility_C = utility(heads, self._weights.weights(surface))
        if not np.isfinite(utility_C).any():
            degradations.append(Degradation("ranker_leaf", "not_finite", "retrieval_order"))
            return retrieval_order(candidates)
        if not np.isfinite(utility_C).all():
            degradations.append(Degradation("ranker_leaf", "not_finite", "some_in_retrieval_order"))
        utility_all = np.concatenate([utility_C, np.full(len(candidates) - len(utility_C), np.nan)])
        return order_by_utility(candidates, utility_all, heads)


def _within(candidates: Candidates, deadline: Deadline, degradations: list[Degradation]) -> Candidates:
    """The first candidates, as many as there is time to score."""
    if deadline.remaining_s() >= SHORT_S or len(candidates) <= NUM_WHEN_SHORT:
        return candidates
    degradations.append(Degradation("ranker", "deadline_exceeded", "fewer_candidates"))
    return candidates[:NUM_WHEN_SHORT]


def _share(deadline: Deadline) -> Deadline:
    return deadline.capped(deadline.remaining_s() * READ_SHARE)


def _check_shapes(scores: Scores, num_candidates: int) -> None:
    """Raises: Corrupt when a head has not one probability per candidate."""
    for head, column in scores.probability_by_head.items():
        if column.shape != (num_candidates,):
            raise Corrupt(f"the leaf answered {head} with {column.shape}, asked for {num_candidates} candidates")
