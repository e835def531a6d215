"""What the root knows of each model's inputs and of the version its leaf runs; decides what one request carries."""

from collections.abc import Mapping

from chassis.clock import Clock
from modeling.arrays import AnyArray
from services.ranker.domain.ranking import Payload
from services.ranker.domain.trimmer import TrimMap
from services.ranker.ports import TrimMeter


class Trimming:
    """One frozen map behind one reference: a request sees either the map before a change or the one after it.

    A list arrives before its model is asked for: the version named is the one that the leaf last said it runs, so a
    new list never trims what an older version still reads.
    """

    def __init__(self, meter: TrimMeter, clock: Clock) -> None:
        self._map = TrimMap()
        self._running: dict[str, str] = {}
        self._meter = meter
        self._clock = clock

    def put_list(self, model: str, version: str, names: frozenset[str]) -> None:
        """From now on this list is the model's newest. Raises: Corrupt for an empty one; nothing changes then."""
        self._map = self._map.with_list(model, version, names)
        self._meter.changed(model, self._clock.monotonic_s())

    def payload(self, model: str, tensors: Mapping[str, AnyArray]) -> Payload:
        """What the version that the leaf runs reads; everything when that is not known."""
        version = self._running.get(model, "")
        trimmed = self._map.trim(tensors, model, version)
        before, after = (sum(value.nbytes for value in side.values()) for side in (tensors, trimmed.tensors))
        self._meter.trimmed(trimmed.reason, before, after, trimmed.absent)
        return Payload(model, trimmed.tensors, version)

    def answered(self, model: str, current_version: str) -> None:
        """The leaf said which version it runs when none is named."""
        if current_version:
            self._running[model] = current_version
