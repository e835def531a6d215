"""The online store as dictionaries: slow, obvious, and held to the same contract as the real one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Unavailable
from services.indexer.domain.event_order import conform, in_order, newest, newest_time_ms
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.renewal import RenewalCounts, renewed
from services.indexer.domain.users import MAX_PINS, PinServing, UserQuery, UserRecord, UserVector
from services.indexer.domain.writes import AppendCounts, AppendReport, EnvelopeWrites, SequenceRows
from services.indexer.ports import PinRows, SequenceQuery, StoredSequence


@dataclass
class _User:
    version: int = 0
    sequences: dict[str, dict[bytes, tuple[bytes, dict[str, Any]]]] = field(default_factory=dict)
    schemas: dict[str, pa.Schema] = field(default_factory=dict)
    acted: dict[str, int] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    vectors: dict[str, UserVector] = field(default_factory=dict)
    profile: dict[str, str] = field(default_factory=dict)


class InMemoryState:
    """What the three stores share. `is_away` makes every call fail."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.users: dict[str, _User] = {}
        self.pins: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self.is_away = False

    def user(self, user_id: str) -> _User:
        return self.users.setdefault(user_id, _User())

    def check(self) -> None:
        if self.is_away:
            raise Unavailable("online store is away")


class InMemorySequenceStore:
    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def append(self, writes: EnvelopeWrites) -> AppendReport:
        self._state.check()
        report: dict[str, AppendCounts] = {}
        grown: set[str] = set()
        for each in writes.sequences:
            rows = zip(each.user_ids, each.id_digests, each.payload_digests, each.rows.to_pylist(), strict=True)
            for user_id, digest, payload, row in rows:
                user = self._state.user(user_id)
                held = user.sequences.setdefault(each.sequence, {})
                user.schemas[each.sequence] = each.rows.schema
                counts = _outcome(held, digest, payload)
                report[each.sequence] = report.get(each.sequence, AppendCounts()) + counts
                if counts.num_new:
                    held[digest] = (payload, row)
                    grown.add(user_id)
        for user_id in grown:
            user = self._state.user(user_id)
            user.version = user.version + 1 if user.version else self._state.clock.now_ms()
        self._touch(writes)
        return report

    async def renew(self, writes: EnvelopeWrites, decided: Mapping[str, AbstractSet[str]]) -> RenewalCounts:
        self._state.check()
        counts = RenewalCounts()
        for each in writes.sequences:
            for user_id, event_ids in decided.items() if each.dedupe_key == "event_id" else ():
                counts += self._renew(user_id, each, event_ids)
        report = await self.append(replace(writes, sequences=tuple(one for one in writes.sequences if one.user_ids)))
        return counts + RenewalCounts(num_added=sum(each.num_new for each in report.values()))

    def _renew(self, user_id: str, each: SequenceRows, event_ids: AbstractSet[str]) -> RenewalCounts:
        user = self._state.user(user_id)
        held = user.sequences.get(each.sequence, {})
        if not held:
            return RenewalCounts()
        schema = user.schemas[each.sequence]
        found = renewed(
            pa.RecordBatch.from_pylist([row for _, row in held.values()], schema), each.of_user(user_id), event_ids
        )
        if not found.is_none:
            user.schemas[each.sequence], user.version = found.rows.schema, user.version + 1
            payloads = {digest: payload for digest, (payload, _) in held.items()}
            digests = each.digests_of(found.rows)
            user.sequences[each.sequence] = {
                digest: (payloads[digest], row) for digest, row in zip(digests, found.rows.to_pylist(), strict=True)
            }
        return found.counts

    async def read(self, queries: Sequence[SequenceQuery]) -> list[StoredSequence]:
        self._state.check()
        return [self._read(query) for query in queries]

    async def user_ids(self, sequence: str) -> AsyncIterator[str]:
        for user_id, user in list(self._state.users.items()):
            if user.sequences.get(sequence):
                yield user_id

    def _read(self, query: SequenceQuery) -> StoredSequence:
        user = self._state.users.get(query.user_id, _User())
        held = [row for _, row in user.sequences.get(query.sequence, {}).values()]
        if not held:
            return StoredSequence(pa.RecordBatch.from_pylist([], schema=query.schema), user.version, 0)
        rows = in_order(pa.RecordBatch.from_pylist(held, schema=user.schemas[query.sequence]))
        rows = newest(rows, query.max_events, query.oldest_ms)
        return StoredSequence(conform(rows, query.schema), user.version, len(held), newest_time_ms(rows))

    def _touch(self, writes: EnvelopeWrites) -> None:
        for user_id, pins in writes.acted.items():
            _keep_newest(self._state.user(user_id).acted, pins)
        for user_id, pins in writes.blocked.items():
            _keep_newest(self._state.user(user_id).blocked, pins)
        for surface, times in writes.viewed_by_surface.items():
            for user_id, pins in times.items():
                _keep_newest(self._state.user(user_id).seen.setdefault(surface, {}), pins)


class InMemoryUserStore:
    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def mark_served(self, servings: Sequence[PinServing]) -> None:
        self._state.check()
        for serving in servings:
            user = self._state.user(serving.user_id)
            times = dict.fromkeys(serving.pin_ids, serving.served_time_ms)
            _keep_newest(user.seen.setdefault(serving.surface, {}), times)
            if serving.locale:
                user.profile["locale"] = serving.locale

    async def put_vectors(self, vectors: Sequence[UserVector]) -> None:
        self._state.check()
        for each in vectors:
            known = self._state.user(each.user_id).vectors
            if each.encoder not in known or known[each.encoder].computed_time_ms <= each.computed_time_ms:
                known[each.encoder] = each

    async def forget_vectors(self, user_ids: Sequence[str]) -> None:
        self._state.check()
        for user_id in user_ids:
            self._state.user(user_id).vectors.clear()

    async def read(self, query: UserQuery) -> UserRecord:
        self._state.check()
        user = self._state.users.get(query.user_id, _User())
        seen: list[str] = []
        if query.surface:
            seen += _newest_first(user.seen.get(query.surface, {}), query.seen_since_ms)
            seen += _newest_first(user.acted, query.acted_since_ms)
        return UserRecord(
            vectors=tuple(user.vectors.values()),
            profile=user.profile,
            seen_pin_ids=tuple(dict.fromkeys(seen)),
            blocked_pin_ids=_newest_first(user.blocked),
            version=user.version,
        )


class InMemoryPinStore:
    def __init__(self, state: InMemoryState) -> None:
        self._state = state

    async def put(self, pins: PinRows) -> None:
        self._state.check()
        versions = zip(pins.published_times_ms, pins.enriched_times_ms, strict=True)
        for version, row in zip(versions, pins.rows.to_pylist(), strict=True):
            known = self._state.pins.get(row["pin_id"])
            if known is None or known[0] <= version:
                self._state.pins[row["pin_id"]] = (version, row)

    async def delete(self, pin_ids: Sequence[str]) -> None:
        self._state.check()
        for pin_id in pin_ids:
            self._state.pins.pop(pin_id, None)

    async def read(self, pin_ids: Sequence[str], columns: Sequence[str]) -> pa.RecordBatch:
        self._state.check()
        rows = [self._state.pins[pin_id][1] for pin_id in pin_ids if pin_id in self._state.pins]
        return pa.RecordBatch.from_pylist(rows, schema=PIN_SCHEMA).select(list(columns))

    async def enriched_times_ms(self, pin_ids: Sequence[str]) -> Mapping[str, int]:
        self._state.check()
        return {pin_id: self._state.pins[pin_id][0][1] for pin_id in pin_ids if pin_id in self._state.pins}

    async def pin_ids(self) -> AsyncIterator[str]:
        for pin_id in list(self._state.pins):
            yield pin_id


def _outcome(held: dict[bytes, tuple[bytes, dict[str, Any]]], digest: bytes, payload: bytes) -> AppendCounts:
    if digest not in held:
        return AppendCounts(num_new=1)
    return AppendCounts(num_duplicate=1) if held[digest][0] == payload else AppendCounts(num_conflict=1)


def _keep_newest(known: dict[str, int], pins: Any) -> None:
    for pin_id, time_ms in pins.items():
        known[pin_id] = max(time_ms, known.get(pin_id, 0))
    for pin_id in sorted(known, key=lambda pin: (known[pin], pin))[:-MAX_PINS]:
        del known[pin_id]


def _newest_first(times: dict[str, int], since_ms: int = 0) -> tuple[str, ...]:
    recent = {pin: time_ms for pin, time_ms in times.items() if time_ms >= since_ms}
    return tuple(sorted(sorted(recent, reverse=True), key=lambda pin: -recent[pin]))
