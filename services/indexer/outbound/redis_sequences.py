"""Sequences in Redis or Valkey: an append buffer and closed columnar buckets per user and sequence."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Unavailable
from chassis.redis.client import WRONG_TYPE
from services.indexer.domain.buckets import SEAL_AT
from services.indexer.domain.column_blob import from_blob
from services.indexer.domain.event_order import ID, TIME, in_order, joined, newest, newest_time_ms
from services.indexer.domain.renewal import RenewalCounts
from services.indexer.domain.writes import AppendCounts, AppendReport, EnvelopeWrites, SequenceRows
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_appends import append_calls, user_appends
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_mending import mend
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_scripts import Argument, Call, script
from services.indexer.outbound.redis_sealing import RedisSealing
from services.indexer.ports import SequenceQuery, StoredSequence

NUM_COUNTS = 5  # what append.lua returns per user and sequence
SEALS_PER_APPEND = 2  # a seal costs some 10 ms
MAX_HEAD = 4 * SEAL_AT  # reads get slow and Lua's copies of it long
READS_PER_LIMIT = 50  # users read within one read limit; a read of 1,000 users gets 21 times the limit


@dataclass
class Decoded:
    """What reads have taken out of closed buckets so far; a column counts once per bucket."""

    num_buckets: int = 0
    num_columns: int = 0
    num_rows: int = 0


class RedisSequenceStore:
    """Atomic per user and envelope, all users of an envelope in one round trip."""

    def __init__(self, connection: RedisConnection, rows: RedisRows, sealing: RedisSealing, clock: Clock) -> None:
        self._connection = connection
        self._rows = rows
        self._sealing = sealing
        self._clock = clock
        self.decoded = Decoded()
        self.num_mended = 0  # keys
        self._append = script("append")
        self._read = script("read")

    async def append(self, writes: EnvelopeWrites) -> AppendReport:
        now_ms = self._clock.now_ms()
        users = user_appends(writes, self._rows, now_ms)
        schemas = [self._rows.remember(each.rows.schema) for each in writes.sequences]
        calls = append_calls(self._append, users, now_ms)
        answers = await self._write([*schemas, *calls])
        counts = iter([count for answer in answers[len(schemas) :] for count in answer])
        report: dict[str, AppendCounts] = {}
        full: list[tuple[int, str, SequenceRows]] = []
        for user_id, user in users.items():
            next(counts)  # the version
            for each in user.sequences:
                *outcome, num_head = islice(counts, NUM_COUNTS)
                report[each.sequence] = report.get(each.sequence, AppendCounts()) + AppendCounts(*outcome)
                if num_head >= SEAL_AT:
                    full.append((num_head, user_id, each))
        await self._seal(full)
        return report

    async def _write(self, calls: Sequence[Call | tuple[Argument, ...]]) -> list[Any]:
        """Raises: Unavailable, after keys of a wrong type were removed as well: the next attempt finds them mended."""
        try:
            return await self._connection.write(calls)
        except Unavailable as error:
            if error.reason == WRONG_TYPE:
                self.num_mended += len(await mend(self._connection, _keys_of(calls)))
            raise

    async def renew(self, writes: EnvelopeWrites, decided: Mapping[str, AbstractSet[str]]) -> RenewalCounts:
        counts = RenewalCounts()
        for each in writes.sequences:
            if each.dedupe_key == ID:
                for user_id, event_ids in decided.items():
                    counts += await self._sealing.renew(user_id, each, event_ids)
        report = await self.append(replace(writes, sequences=tuple(one for one in writes.sequences if one.user_ids)))
        return counts + RenewalCounts(num_added=sum(each.num_new for each in report.values()))

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

    async def _seal(self, full: list[tuple[int, str, SequenceRows]]) -> None:
        """The longest heads; the others can wait for their user's next events, so that no envelope waits for hundreds
        of heads that got full together."""
        full.sort(key=lambda each: each[0], reverse=True)
        for place, (num_head, user_id, each) in enumerate(full):
            if place < SEALS_PER_APPEND or num_head >= MAX_HEAD:
                await self._sealing.seal(user_id, each)

    def _read_call(self, query: SequenceQuery) -> Call:
        user_id, sequence = query.user_id, query.sequence
        names = (redis_keys.user(user_id), redis_keys.buckets(user_id, sequence), redis_keys.head(user_id, sequence))
        return Call(self._read, names, (query.max_events, query.oldest_ms))

    async def _stored(self, query: SequenceQuery, answer: tuple[bytes, int, bytes, list[bytes]]) -> StoredSequence:
        version, num_held, head, blobs = answer
        order = [self._rows.core_field(name) for name in (TIME, ID) if name not in query.schema.names]
        schema = pa.schema([*query.schema, *order])
        parts = [self._opened(blob, schema) for blob in blobs if blob is not None]
        parts += await self._rows.decode(head, schema.names)
        rows = newest(in_order(joined(parts, schema)), query.max_events, query.oldest_ms)
        return StoredSequence(rows.select(query.schema.names), int(version), num_held, newest_time_ms(rows))

    def _opened(self, blob: bytes, schema: pa.Schema) -> pa.RecordBatch:
        rows = from_blob(blob, schema.names)
        self.decoded.num_buckets += 1
        self.decoded.num_columns += rows.num_columns
        self.decoded.num_rows += rows.num_rows
        return rows


def _keys_of(calls: Sequence[Call | tuple[Argument, ...]]) -> list[str]:
    return [key for call in calls if isinstance(call, Call) for key in call.keys]
