"""What ingest needs from the world."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from sequences.definitions.definitions import Definitions
from services.ingest.domain.event import Event
from services.ingest.domain.pin import Pin


class EventLog(Protocol):
    """Where accepted events go. Events of one user stay in the order of the calls."""

    def append(self, events: Sequence[Event], received_time_ms: int) -> Sequence[asyncio.Future[None]]:
        """Take all events or none; one future per event, done when every replica has it.

        A future raises Unavailable when the event is surely not, or not surely, kept. A future must complete even
        when nobody waits for it. Raises: Overloaded when too much is waiting already.
        """
        ...


class PinLog(Protocol):
    """Where accepted pins go; the newest version of an id wins."""

    async def publish(self, pin: Pin) -> None:
        """Returns when every replica has it; a deleted pin becomes a tombstone. Raises: Unavailable."""
        ...


class Quota(Protocol):
    """Decides in process whether a tenant may go on."""

    def admit_all(self, costs: Sequence[tuple[str, float]]) -> None:
        """Charge each (resource, cost) or none. Raises: Overloaded with retry_after_s, Invalid for a cost that can
        never be admitted.
        """
        ...


class DefinitionsInUse(Protocol):
    """The definitions to validate with."""

    @property
    def current(self) -> Definitions:
        """Raises: Unavailable before the first bundle."""
        ...
