"""Answers for sequences: rights, limits and columns first, then one read of the store."""

from collections.abc import Sequence as ListOf
from dataclasses import dataclass, replace

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Invalid, NotFound, PermissionDenied
from sequences.definitions.columns import sequence_schema
from sequences.definitions.sequence import Sequence
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.quality_board import QualityBoard
from services.indexer.domain.completeness import CompletenessRatio
from services.indexer.domain.quality import Quality
from services.indexer.domain.routing import oldest_ms
from services.indexer.ports import SequenceQuery, SequenceStore, StoredSequence

MAX_USER_ID_CHARS = 128
MAX_USERS = 1_000
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class SequenceAsk:
    """What a caller wants. `max_events` 0 = the definition's limit; no columns = all; no tenant = "default"."""

    sequence: str
    max_events: int = 0
    columns: tuple[str, ...] = ()
    tenant: str = ""


@dataclass(frozen=True)
class SequenceAnswer:
    """One user's events, oldest first, and how fresh and complete the sequence is kept."""

    events: StoredSequence
    newest_event_time_ms: int
    as_of_ms: int
    completeness: CompletenessRatio
    freshness_p99_s: float
    definitions_version: str


@dataclass(frozen=True)
class SequenceDescription:
    """What a sequence is and how well it is kept."""

    definition: Sequence
    schema: pa.Schema
    quality: Quality
    definitions_version: str


class ReadSequences:
    """Reads by definition."""

    def __init__(self, definitions: ActiveDefinitions, store: SequenceStore, board: QualityBoard, clock: Clock) -> None:
        self._definitions = definitions
        self._store = store
        self._board = board
        self._clock = clock

    async def get(self, user_ids: ListOf[str], ask: SequenceAsk) -> list[SequenceAnswer]:
        """One answer per user, in the order asked; an unknown user's is empty.

        Raises: NotFound, Invalid naming the field, PermissionDenied, Unavailable.
        """
        _check_users(user_ids)
        definition = self._definition(ask.sequence)
        _check(definition, ask)
        now_ms = self._clock.now_ms()
        schema = self._schema(definition, ask.columns)
        limit = min(ask.max_events or definition.max_events, definition.max_events)
        queries = [SequenceQuery(user, ask.sequence, limit, oldest_ms(definition, now_ms), schema) for user in user_ids]
        found = await self._store.read(queries)
        quality = self._board.of(definition.name)
        kept = quality.completeness.ratio(now_ms), quality.freshness_p99_s(now_ms), self._definitions.current.version
        return [SequenceAnswer(each, each.newest_event_time_ms, now_ms, *kept) for each in found]

    def describe(self, sequence: str) -> SequenceDescription:
        """Raises: NotFound, Unavailable."""
        definition = self._definition(sequence)
        quality = self._board.of(sequence).report(self._clock.now_ms())
        coverage = {name: ratio for name, ratio in quality.coverage_ratio.items() if name in definition.columns}
        quality = replace(quality, coverage_ratio=coverage)
        return SequenceDescription(definition, self._schema(definition, ()), quality, self._definitions.current.version)

    def _definition(self, sequence: str) -> Sequence:
        known = self._definitions.current.sequences
        if sequence not in known:
            raise NotFound(
                f"no sequence {sequence!r}; there are {', '.join(sorted(known))}",
                field="sequence",
                reason="unknown_sequence",
            )
        return known[sequence]

    def _schema(self, definition: Sequence, columns: tuple[str, ...]) -> pa.Schema:
        schema = sequence_schema(self._definitions.current, definition.name)
        return pa.schema([schema.field(name) for name in dict.fromkeys(columns or definition.columns)])


def _check_users(user_ids: ListOf[str]) -> None:
    if len(user_ids) > MAX_USERS:
        raise Invalid(f"{len(user_ids)} users asked for, at most {MAX_USERS}", field="user_ids", reason="too_many")
    for user_id in user_ids:
        check_user_id(user_id)


def check_user_id(user_id: str) -> None:
    """Raises: Invalid unless it has 1 to 128 characters."""
    if not 1 <= len(user_id) <= MAX_USER_ID_CHARS:
        raise Invalid(
            f"user_id has {len(user_id)} characters, 1 to {MAX_USER_ID_CHARS} are allowed",
            field="user_id",
            reason="bad_length",
        )


def _check(definition: Sequence, ask: SequenceAsk) -> None:
    tenant = ask.tenant or DEFAULT_TENANT
    if not definition.can_read(tenant):
        raise PermissionDenied(f"tenant {tenant!r} may not read sequence {definition.name!r}", field="tenant")
    if ask.max_events < 0:
        raise Invalid(f"max_events is {ask.max_events}, must not be negative", field="max_events", reason="negative")
    unknown = [name for name in ask.columns if name not in definition.columns]
    if unknown:
        raise Invalid(
            f"sequence {definition.name!r} has no columns {', '.join(unknown)}",
            field="columns",
            reason="unknown_column",
        )
