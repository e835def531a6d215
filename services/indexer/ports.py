"""What the indexer needs from the world: an online store for sequences, users and pins, and a lake."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from services.indexer.domain.lake_rows import Coverage, Table
from services.indexer.domain.lake_upkeep import Compacted, Expired, UpkeepLimits
from services.indexer.domain.layers import Layers
from services.indexer.domain.renewal import RenewalCounts
from services.indexer.domain.users import PinServing, UserQuery, UserRecord, UserVector
from services.indexer.domain.writes import AppendReport, EnvelopeWrites


@dataclass(frozen=True)
class SequenceQuery:
    """Whose newest events of which sequence, in the columns of `schema`."""

    user_id: str
    sequence: str
    max_events: int
    oldest_ms: int
    schema: pa.Schema


@dataclass(frozen=True)
class StoredSequence:
    """Ordered by (event time, event id). `version` is 0 and `rows` empty for an unknown user."""

    rows: pa.RecordBatch
    version: int
    num_total: int
    newest_event_time_ms: int = 0


class SequenceStore(Protocol):
    """Sequences of users, and the pins that their events tell of.

    A fake must honour: atomic per user and envelope; idempotent; the first payload of an id wins; the version of a
    user grows by one with every envelope that adds events. Every method raises Unavailable when the store is away.
    """

    async def append(self, writes: EnvelopeWrites) -> AppendReport:
        """Returns once everything is readable."""
        ...

    async def renew(self, writes: EnvelopeWrites, decided: Mapping[str, AbstractSet[str]]) -> RenewalCounts:
        """Held events take the values of `writes`; of the ids of a user in `decided`, those that it lacks are removed;
        what is not held is appended. Per user and sequence all or nothing, beside any number of appends; the version
        grows when something changed. Sequences that dedupe by another column than the event id only grow.
        """
        ...

    async def read(self, queries: Sequence[SequenceQuery]) -> list[StoredSequence]:
        """One answer per query, in one round trip."""
        ...

    def user_ids(self, sequence: str) -> AsyncIterator[str]:
        """Every user that has the sequence, in no order, each at least once."""
        ...


class UserStore(Protocol):
    """What is kept per user besides sequences. Idempotent."""

    async def mark_served(self, servings: Sequence[PinServing]) -> None:
        """Remember served pins and the locale of the newest feed."""
        ...

    async def put_vectors(self, vectors: Sequence[UserVector]) -> None:
        """Keep the newest vector per user and encoder."""
        ...

    async def forget_vectors(self, user_ids: Sequence[str]) -> None:
        """Delete every vector of these users."""
        ...

    async def read(self, query: UserQuery) -> UserRecord:
        """One round trip. An unknown user has an empty record."""
        ...


@dataclass(frozen=True)
class PinRows:
    """Versions of pins; `published_times_ms` and `enriched_times_ms` say which of two is newer."""

    rows: pa.RecordBatch
    published_times_ms: list[int]
    enriched_times_ms: list[int]


class PinStore(Protocol):
    """Features of pins. An older version never replaces a newer one."""

    async def put(self, pins: PinRows) -> None:
        """Returns once the pins are readable."""
        ...

    async def delete(self, pin_ids: Sequence[str]) -> None:
        """Unknown pins are no error."""
        ...

    async def read(self, pin_ids: Sequence[str], columns: Sequence[str]) -> pa.RecordBatch:
        """One row per known pin, in the order asked, with these columns, in one round trip."""
        ...

    async def enriched_times_ms(self, pin_ids: Sequence[str]) -> Mapping[str, int]:
        """When each known pin was enriched, in one round trip."""
        ...

    def pin_ids(self) -> AsyncIterator[str]:
        """Every pin, in no order, each at least once."""
        ...


class Lake(Protocol):
    """Tables that only grow. Calls block: the app makes them in a thread, one at a time."""

    def coverage(self, table: Table) -> Coverage:
        """What the newest snapshot has of the topic; empty for a new table. Raises: Unavailable."""
        ...

    def append(self, table: Table, rows: pa.Table, coverage: Coverage) -> None:
        """Rows and coverage become visible in one step, or neither does.

        Raises: Conflict when the table has changed since `coverage` was asked for, Unavailable.
        """
        ...

    def read(self, table: Table) -> pa.Table:
        """The whole table; no columns when it does not exist."""
        ...

    def event_layers(self, columns: Sequence[str] | None = None, event_types: Sequence[str] | None = None) -> Layers:
        """Events as the stream wrote them and as the published runs did: all or these columns, all or these types.

        No columns without events. Raises: Unavailable, Invalid for an unknown column.
        """
        ...


class Outcomes(Protocol):
    """What became of shown pins. Calls block. All raise Unavailable."""

    def known_until_ms(self) -> int:
        """Feeds and events up to here are in the lake, epoch milliseconds; 0 without any of one of them."""
        ...

    def between(self, since_ms: int, until_ms: int, window_ms: int) -> pa.Table:
        """Pins shown in [since, until) in the columns of SHOWN, and a bool column per label: whether the user did so
        within the window after."""
        ...


class LakeUpkeep(Protocol):
    """Keeps tables small and quick to read without changing what they say. Calls block, one at a time.

    Nobody commits to a table meanwhile: `compact` and `expire` raise Conflict when somebody did. All raise Unavailable.
    """

    def names(self) -> list[str]:
        """Every table that is there."""
        ...

    def compact(self, name: str, limits: UpkeepLimits) -> Compacted:
        """Merge small files."""
        ...

    def expire(self, name: str, limits: UpkeepLimits, now_ms: int) -> Expired:
        """Let old snapshots go, and the files that only they had."""
        ...
