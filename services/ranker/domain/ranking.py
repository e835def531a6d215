"""What a ranking asks for and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modeling.arrays import AnyArray, Floats
from services.ranker.domain.candidates import Candidates
from services.ranker.domain.ranked_pins import RankedPins


@dataclass(frozen=True)
class SequenceEvent:
    """One engagement of the user; `traceparent` is the trace of its publication."""

    event_id: str
    event_type: str
    pin_id: str
    event_time_ms: int
    traceparent: str = ""


@dataclass(frozen=True)
class UserSequence:
    """Newest events, oldest first, and the version of the sequence they are from; `num_total` events are held."""

    events: tuple[SequenceEvent, ...] = ()
    version: int = 0
    num_total: int = 0
    definitions_version: str = ""


@dataclass(frozen=True)
class RankAsk:
    """A ranking in domain words; `request_time_ms` 0 = now, `versions` is what the candidates were made with."""

    user_id: str
    surface: str
    candidates: Candidates
    request_time_ms: int = 0
    request_id: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    history: UserSequence | None = None  # None = to be read


@dataclass(frozen=True)
class PinFeatures:
    """What the store knows of a pin; `created_time_ms` 0 = unknown, `content_vector` None = unknown.

    `vector_version` names the encoder that made the vector.
    """

    content_vector: Floats | None
    created_time_ms: int
    price_micros: int
    vector_version: str = ""


@dataclass(frozen=True)
class Payload:
    """Tensors for a model and the version they were trimmed for; empty = whichever the leaf runs."""

    model: str
    tensors: Mapping[str, AnyArray]
    model_version: str = ""


@dataclass(frozen=True)
class Scores:
    """A leaf's answer: calibrated probability per head [C], and the model that ran.

    `current_version` is what the leaf runs when no version is named.
    """

    probability_by_head: Mapping[str, Floats]
    model: str
    model_version: str
    defaulted_inputs: tuple[str, ...] = ()
    current_version: str = ""


@dataclass(frozen=True)
class Degradation:
    """A part of an answer that is missing or replaced."""

    component: str
    reason: str
    level: str


@dataclass(frozen=True)
class Ranked:
    """The answer of a ranking; pins are unique, best first."""

    pins: RankedPins
    degradations: tuple[Degradation, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    sequence_version: int = 0
    influencing_events: tuple[SequenceEvent, ...] = ()


INFLUENCE_WINDOW_MS = 10 * 60 * 1_000
MAX_INFLUENCING = 10


def influencing(events: Sequence[SequenceEvent], now_ms: int) -> tuple[SequenceEvent, ...]:
    """Events of the last ten minutes, newest first, at most ten."""
    recent = [event for event in reversed(events) if now_ms - event.event_time_ms <= INFLUENCE_WINDOW_MS]
    return tuple(recent[:MAX_INFLUENCING])
