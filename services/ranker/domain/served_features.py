"""What a model was given for one ranking: what the online/offline check holds against what training would have had.

Shapes: L history events, C candidates.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modeling.arrays import AnyArray
from services.ranker.domain.candidates import Candidates
from services.ranker.domain.features import CANDIDATE, FEATURES
from services.ranker.domain.ranking import (
    Degradation,
    Payload,
    PinFeatures,
    RankAsk,
    Scores,
    SequenceEvent,
    UserSequence,
)


@dataclass(frozen=True)
class Asked:
    """One question to the leaf: the rows of its tensors, and what they were made of."""

    candidates: Candidates
    events: Sequence[SequenceEvent]
    payload: Payload
    sequence: UserSequence
    pins: Mapping[str, PinFeatures]


@dataclass(frozen=True)
class ServedFeatures:
    """Tensors as they were sent; `pin_ids` [C] and `event_ids` [L] name their rows. Of the newest `num_gapless_events`
    none was left out between them."""

    ask: RankAsk
    served_time_ms: int
    scores: Scores
    tensors: Mapping[str, AnyArray]
    pin_ids: tuple[str, ...]
    vector_versions: tuple[str, ...]
    event_ids: tuple[str, ...]
    num_gapless_events: int
    is_whole_history: bool
    num_candidates: int
    sequence_version: int
    versions: Mapping[str, str]
    degradations: tuple[Degradation, ...] = ()
    traceparent: str = ""

    def at_most(self, max_candidates: int, dice: random.Random) -> "ServedFeatures":
        """With so many of the candidates, chosen at random, in the order they had."""
        if len(self.pin_ids) <= max_candidates:
            return self
        rows = sorted(dice.sample(range(len(self.pin_ids)), max_candidates))
        tensors = {
            name: value[rows] if FEATURES[name].axis == CANDIDATE else value for name, value in self.tensors.items()
        }
        pin_ids, versions = (tuple(each[row] for row in rows) for each in (self.pin_ids, self.vector_versions))
        return replace(self, tensors=tensors, pin_ids=pin_ids, vector_versions=versions)


def served_features(
    ask: RankAsk,
    asked: Asked,
    scores: Scores,
    degradations: Sequence[Degradation],
    *,
    num_newest: int,
    weights_version: str,
    served_time_ms: int,
    traceparent: str = "",
) -> ServedFeatures:
    """The record of a ranking that a model scored; `num_newest` events stay whatever else is left out."""
    sequence = asked.sequence
    is_all = len(asked.events) == len(sequence.events)
    versions = {
        "definitions:sequence": sequence.definitions_version,
        "definitions:weights": weights_version,
        **ask.versions,
    }
    pins = [asked.pins.get(pin_id) for pin_id in asked.candidates.pin_ids]
    return ServedFeatures(
        ask=ask,
        served_time_ms=served_time_ms,
        scores=scores,
        tensors=asked.payload.tensors,
        pin_ids=tuple(asked.candidates.pin_ids),
        vector_versions=tuple(pin.vector_version if pin else "" for pin in pins),
        event_ids=tuple(event.event_id for event in asked.events),
        num_gapless_events=len(asked.events) if is_all else min(num_newest, len(asked.events)),
        is_whole_history=is_all and sequence.num_total <= len(sequence.events),
        num_candidates=len(asked.candidates),
        sequence_version=sequence.version,
        versions={name: version for name, version in versions.items() if version},
        degradations=tuple(degradations),
        traceparent=traceparent,
    )
