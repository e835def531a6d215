"""Sequences in Redis or Valkey: an append buffer and closed columnar buckets per user and sequence."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from chassis.clock import Clock
from services.indexer.domain.buckets import SEAL_AT
from services.indexer.domain.column_blob import from_blob
from services.indexer.domain.event_order import ID, TIME, in_order, joined, newest, newest_time_ms
from services.indexer.domain.row_codec import RowCodec
from services.indexer.domain.users import ACTED_WINDOW_MS, MAX_PINS
from services.indexer.domain.writes import AppendCounts, AppendReport, EnvelopeWrites, PinTimes, SequenceRows
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_scripts import Argument, Call, script
from services.indexer.outbound.redis_sealing import RedisSealing
from services.indexer.ports import SequenceQuery, StoredSequence

NUM_COUNTS = 5  # what append.lua returns per sequence
READS_PER_LIMIT = 50  # users read within one read limit; a read of 1,000 users gets 21 times the limit


@dataclass
class _UserCall:
    sequences: list[SequenceRows] = field(default_factory=list)
    surfaces: list[str] = field(default_factory=list)
    row_arguments: list[Argument] = field(default_factory=list)
    pin_arguments: list[Argument] = field(default_factory=list)


class RedisSequenceStore:
    """One atomic script per user and envelope, all users of an envelope in one round trip."""

    def __init__(self, connection: RedisConnection, rows: RedisRows, sealing: RedisSealing, clock: Clock) -> None:
        self._connection = connection
        self._rows = rows
        self._sealing = sealing
        self._clock = clock
        self._append = script("append")
        self._read = script("read")

    async def append(self, writes: EnvelopeWrites) -> AppendReport:
        calls = self._calls(writes)
        schemas = [self._rows.remember(each.rows.schema) for each in writes.sequences]
        answers = await self._connection.write([*schemas, *(self._call(user, call) for user, call in calls.items())])
        report: dict[str, AppendCounts] = {}
        for (user_id, call), answer in zip(calls.items(), answers[len(schemas) :], strict=True):
            for place, each in enumerate(call.sequences):
                *counts, num_head = answer[1 + NUM_COUNTS * place : 1 + NUM_COUNTS * (place + 1)]
                report[each.sequence] = report.get(each.sequence, AppendCounts()) + AppendCounts(*counts)
                if num_head >= SEAL_AT:
                    await self._sealing.seal(user_id, each)
        return report

    async def read(self, queries: Sequence[SequenceQuery]) -> list[StoredSequence]:
        calls = [self._read_call(query) for query in queries]
        answers = await self._connection.read(calls, weight=1 + len(queries) // READS_PER_LIMIT)
        found = []
        for query, answer in zip(queries, answers, strict=True):
            found.append(await self._stored(query, answer))
            await asyncio.sleep(0)  # a thousand users take a second to decode: other calls go in between
        return found

    async def user_ids(self, sequence: str) -> AsyncIterator[str]:
        async for key in self._connection.keys(redis_keys.buckets("*", sequence)):
            yield redis_keys.user_of(key, sequence)

    def _read_call(self, query: SequenceQuery) -> Call:
        user_id, sequence = query.user_id, query.sequence
        names = (redis_keys.user(user_id), redis_keys.buckets(user_id, sequence), redis_keys.head(user_id, sequence))
        return Call(self._read, names, (query.max_events, query.oldest_ms))

    async def _stored(self, query: SequenceQuery, answer: tuple[bytes, int, bytes, list[bytes]]) -> StoredSequence:
        version, num_held, head, blobs = answer
        order = [self._rows.core_field(name) for name in (TIME, ID) if name not in query.schema.names]
        schema = pa.schema([*query.schema, *order])
        parts = [from_blob(blob, schema.names) for blob in blobs if blob is not None]
        parts += await self._rows.decode(head, schema.names)
        rows = newest(in_order(joined(parts, schema)), query.max_events, query.oldest_ms)
        return StoredSequence(rows.select(query.schema.names), int(version), num_held, newest_time_ms(rows))

    def _calls(self, writes: EnvelopeWrites) -> dict[str, _UserCall]:
        calls: dict[str, _UserCall] = {}
        for each in writes.sequences:
            for user_id, arguments in _arguments_by_user(each).items():
                call = calls.setdefault(user_id, _UserCall())
                call.sequences.append(each)
                call.row_arguments += [len(arguments) // 5, *arguments]
        users = {*calls, *writes.acted, *writes.blocked}
        users.update(user for times in writes.viewed_by_surface.values() for user in times)
        for user_id in sorted(users):
            call = calls.setdefault(user_id, _UserCall())
            call.surfaces = [name for name, times in writes.viewed_by_surface.items() if user_id in times]
            lists = [writes.acted, writes.blocked, *(writes.viewed_by_surface[name] for name in call.surfaces)]
            for times in lists:
                call.pin_arguments += _pin_arguments(times, user_id)
        return calls

    def _call(self, user_id: str, call: _UserCall) -> Call:
        names = [redis_keys.user(user_id), redis_keys.acted(user_id), redis_keys.blocked(user_id)]
        for each in call.sequences:
            names += [f(user_id, each.sequence) for f in (redis_keys.buckets, redis_keys.head, redis_keys.ids)]
        names += [redis_keys.seen(user_id, surface) for surface in call.surfaces]
        now_ms = self._clock.now_ms()
        limits: list[Argument] = [now_ms, MAX_PINS, now_ms - ACTED_WINDOW_MS, len(call.sequences)]
        return Call(self._append, names, [*limits, *call.row_arguments, *call.pin_arguments])


def _arguments_by_user(each: SequenceRows) -> dict[str, list[Argument]]:
    encoded = RowCodec(each.rows.schema).encode(each.rows)
    arguments: dict[str, list[Argument]] = {}
    rows = zip(
        each.user_ids, each.event_times_ms, each.event_ids, each.id_digests, each.payload_digests, encoded, strict=True
    )
    for user_id, *row in rows:
        arguments.setdefault(user_id, []).extend(row)
    return arguments


def _pin_arguments(times: PinTimes, user_id: str) -> list[Argument]:
    pins = times.get(user_id, {})
    return [len(pins), *(part for pin in pins.items() for part in pin)]
