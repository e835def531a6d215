"""Which users' sequences move, from the topic of enriched events."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from chassis.clock import Clock
from chassis.errors import Corrupt
from chassis.kafka import arrow
from chassis.kafka.bus import Record
from services.cg.domain.moved_users import MovedUsers
from services.cg.ports import StateMeter

GROUP = "cg-user-states"  # one over all zones: each user's state is made once


class MovedSequences:
    """Counts the events that are part of the sequence; what cannot be read is counted, the indexer parks it."""

    def __init__(
        self, moved: MovedUsers, event_types: Callable[[], frozenset[str]], meter: StateMeter, clock: Clock
    ) -> None:
        self._moved, self._event_types, self._meter, self._clock = moved, event_types, meter, clock

    async def handle(self, records: Sequence[Record]) -> None:
        """Only notes who moved, so it never waits. A crash forgets the counts, and states are made a little later."""
        for record in records:
            try:
                counts = events_by_user(arrow.decode(record.value), self._event_types())
            except (Corrupt, KeyError, pa.ArrowException):
                self._meter.refreshed("unreadable")
                continue
            for _ in range(self._moved.moved(counts, self._clock.monotonic_s())):
                self._meter.refreshed("no_room")


def events_by_user(envelope: pa.RecordBatch, event_types: frozenset[str]) -> Mapping[str, int]:
    """Events of these types by user; of all types when none are given. Raises: KeyError, pa.ArrowException."""
    users = envelope.column("user_id")
    if event_types:
        users = users.filter(pc.is_in(envelope.column("event_type"), pa.array(sorted(event_types))))
    return {str(each["values"]): int(each["counts"]) for each in users.value_counts().to_pylist()}
