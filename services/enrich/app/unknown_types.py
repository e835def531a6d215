"""Holds events back whose type this process does not know yet: the definitions that name it may be on their way."""

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Unavailable
from services.enrich.app.engines import EnginePair

WAIT_S = 10.0  # an announced bundle is in use within a second or two; the next try of a store that was away is at 15 s
MAX_TYPES = 1_000  # remembered; beyond, somebody invents names, and nothing is waited for


class UnknownTypes:
    """A type is waited for once under each version of the definitions; after that its events are let through, and
    parked by the enrichment that cannot read them."""

    def __init__(self, clock: Clock, wait_s: float = WAIT_S) -> None:
        self._clock = clock
        self._wait_s = wait_s
        self._version = ""
        self._seen_s: dict[str, float] = {}

    def check(self, events: pa.RecordBatch, engines: EnginePair) -> None:
        """Raises: Unavailable while there is an unknown type that should be waited for."""
        if engines.version != self._version:
            self._version, self._seen_s = engines.version, {}
        known = engines.events.plan.event_types
        waited_for = [name for name in _types_of(events) if name not in known and self._waits(name)]
        if waited_for:
            raise Unavailable(
                f"event types {', '.join(map(repr, waited_for))} are not in definitions {engines.version}; "
                f"newer ones are waited for",
                reason="definitions_behind",
            )

    def _waits(self, name: str) -> bool:
        now_s = self._clock.monotonic_s()
        if len(self._seen_s) >= MAX_TYPES and name not in self._seen_s:
            return False
        return now_s - self._seen_s.setdefault(name, now_s) < self._wait_s


def _types_of(events: pa.RecordBatch) -> list[str]:
    """Empty when there is no such column: the engine says what is wrong with the batch."""
    place = events.schema.get_field_index("event_type")
    if place < 0 or events.schema.field(place).type != pa.string():
        return []
    names: list[str] = events.column(place).unique().drop_null().to_pylist()
    return names
