"""What ranking needs from the world."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chassis.deadline import Deadline
from services.ranker.domain.ranking import Payload, PinFeatures, Scores, UserSequence
from services.ranker.domain.served_features import ServedFeatures


class Sequences(Protocol):
    """What users did."""

    async def recent(self, user_id: str, deadline: Deadline) -> UserSequence:
        """The newest engagements; an unknown user has none. Raises: Unavailable, DeadlineExceeded."""
        ...


class PinFeatureStore(Protocol):
    """What is known of pins."""

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        """Features of the known ones among `pin_ids`, in one call. Raises: Unavailable, DeadlineExceeded."""
        ...


class Scorer(Protocol):
    """The leaf that hosts a model."""

    async def score(self, payload: Payload, user_id: str, sequence_version: int, deadline: Deadline) -> Scores:
        """Calibrated probabilities per head. Raises: Unavailable, DeadlineExceeded, Invalid."""
        ...


class UtilityWeights(Protocol):
    """How much each action is worth on a surface."""

    @property
    def version(self) -> str:
        """Of the definitions they are from; empty before any were released."""
        ...

    def weights(self, surface: str) -> Mapping[str, float]:
        """Weight by head; a built-in set for surfaces that define none."""
        ...


class FeatureLog(Protocol):
    """Where a sample of what models were given goes, off the path of the answer."""

    def offer(self, make: Callable[[], ServedFeatures]) -> None:
        """Of a scored ranking; `make` is called at once, or not at all. Never waits and never fails; what cannot be
        taken is counted."""
        ...


class TrimMeter(Protocol):
    """Where counts of the trimmer go."""

    def trimmed(self, reason: str, num_bytes_before: int, num_bytes_after: int, absent: Sequence[str]) -> None:
        """One request was trimmed, or not; `absent` are features its list names and the request lacks."""
        ...

    def changed(self, model: str, at_monotonic_s: float) -> None:
        """A model's newest list was replaced."""
        ...


class BatchMeter(Protocol):
    """Where counts of the leaf's batches go."""

    def batch(self, num_requests: int) -> None:
        """One model pass answered this many requests."""
        ...


class ShadowMeter(Protocol):
    """Where counts of variants on trial go."""

    def shadowed(self, variant: str, outcome: str) -> None:
        """What came of one request: compared, dropped, failed, no_model or lacks_inputs."""
        ...

    def difference(self, variant: str, head: str, mean_absolute: float) -> None:
        """How far the probabilities of one request's candidates are from those served."""
        ...


class RankingMeter(Protocol):
    """Where counts go."""

    def degraded(self, component: str, reason: str) -> None:
        """A part of an answer was missing."""
        ...
