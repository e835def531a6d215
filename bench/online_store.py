"""The online store against one Redis LIST per user, on a real Valkey: reads, bytes, writes.

`python -m bench online_store` needs no house. Both sides use the same client and get the same events; what they give
back is compared value by value before anything is timed. Rounds take turns, figures are medians. The store dedupes and
the LIST does not: the bytes of that are in the store's sum, and its time is in the store's writes. Lists of pins, which
the LIST has no counterpart of, are left out of the writes.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from bench.load import gate
from bench.redis_list import FixedPacking, MsgpackPacking, Packing, RedisList
from chassis.clock import SYSTEM_CLOCK
from chassis.redis.client import RedisClient
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import made_up_rows, repository_definitions
from services.indexer.domain.routing import CORE, Routing
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_sealing import RedisSealing
from services.indexer.outbound.redis_sequences import RedisSequenceStore
from services.indexer.ports import SequenceQuery
from services.indexer.tests.valkey import Valkey

SEQUENCE = "engagement"
NUM_EVENTS = 16_000
NUM_NEWEST = 512
NARROW = ("pin_id", "event_type", "event_time_ms")
ROWS_PER_ENVELOPE = 500
NUM_WRITERS = 20  # users of the write rounds: 25 events of each in an envelope, and heads that get full
READ_ROUNDS = 41
WRITE_ROUNDS = 5
READ_GOAL = 0.25  # of the LIST's time
BYTES_GOAL = 0.7  # of the LIST's bytes
USER = "reader"


@dataclass(frozen=True)
class Case:
    """Events of one user, oldest first, in columns that definitions ask for, and how the peer packs them."""

    name: str
    definitions: Definitions
    rows: list[dict[str, Any]]
    packing: Packing

    @property
    def routing(self) -> Routing:
        return Routing(self.definitions)

    def envelopes(self, num_users: int) -> list[pa.RecordBatch]:
        """The events in enriched envelopes, of one user or dealt out to some."""
        users = [USER] if num_users == 1 else [f"writer-{number:03d}" for number in range(num_users)]
        rows = [row | {"user_id": users[number % num_users]} for number, row in enumerate(self.rows)]
        schema = enriched_schema(self.definitions)
        chunks = [rows[at : at + ROWS_PER_ENVELOPE] for at in range(0, len(rows), ROWS_PER_ENVELOPE)]
        return [pa.RecordBatch.from_pylist(chunk, schema=schema) for chunk in chunks]


class Bench:
    """Both sides on one server."""

    def __init__(self, client: RedisClient, case: Case) -> None:
        connection = RedisConnection(client, read_timeout_s=5.0, write_timeout_s=30.0)
        rows = RedisRows(connection)
        self._redis: Any = client.connection
        self._store = RedisSequenceStore(connection, rows, RedisSealing(connection, rows), SYSTEM_CLOCK)
        self._list = RedisList(client.connection, case.packing, NUM_EVENTS)
        self._case = case
        self._routing = case.routing
        self._schema = self._routing.stored_schemas[SEQUENCE]

    async def measure(self) -> dict[str, Any]:
        """Writes first, into an empty server; then reads and bytes of one full user."""
        writes = await self._writes()
        for envelope in self._case.envelopes(1):
            await self._append(envelope)
            await self._list.append(envelope)
        full = await self._reads(NUM_EVENTS, tuple(self._schema.names))
        part = await self._reads(NUM_NEWEST, NARROW)
        return {"name": self._case.name, "full_read": full, "part_read": part, "writes": writes, **await self._bytes()}

    async def _append(self, envelope: pa.RecordBatch) -> None:
        routed = self._routing.route(envelope, SYSTEM_CLOCK.now_ms())
        report = await self._store.append(replace(routed, acted={}))
        assert report[SEQUENCE].num_new == envelope.num_rows, report

    async def _read(self, num_events: int, columns: tuple[str, ...]) -> pa.Table:
        schema = pa.schema([self._schema.field(name) for name in columns])
        [found] = await self._store.read([SequenceQuery(USER, SEQUENCE, num_events, 0, schema)])
        return pa.Table.from_batches([found.rows])

    async def _reads(self, num_events: int, columns: tuple[str, ...]) -> dict[str, Any]:
        async def ours() -> pa.Table:
            return await self._read(num_events, columns)

        async def peer() -> pa.Table:
            return await self._list.read(USER, num_events, columns)

        one, other = await ours(), await peer()
        assert one.num_rows == num_events and one.to_pylist() == other.to_pylist(), "the two sides differ"
        store_ms, list_ms = await _turns(READ_ROUNDS, ours, peer)
        return {
            "events": num_events,
            "columns": len(columns),
            "store_ms": round(store_ms, 2),
            "list_ms": round(list_ms, 2),
            "times_as_fast": round(list_ms / store_ms, 2),
        }

    async def _writes(self) -> dict[str, Any]:
        envelopes = self._case.envelopes(NUM_WRITERS)

        async def ours() -> None:
            await self._redis.flushall()
            for envelope in envelopes:
                await self._append(envelope)

        async def peer() -> None:
            await self._redis.flushall()
            for envelope in envelopes:
                await self._list.append(envelope)

        store_ms, list_ms = await _turns(WRITE_ROUNDS, ours, peer)
        await self._redis.flushall()
        return {
            "users": NUM_WRITERS,
            "events_per_envelope": ROWS_PER_ENVELOPE,
            "store_events_per_s": round(NUM_EVENTS / store_ms * 1000),
            "list_events_per_s": round(NUM_EVENTS / list_ms * 1000),
            "times_as_fast": round(list_ms / store_ms, 2),
        }

    async def _bytes(self) -> dict[str, Any]:
        names = {"buckets": redis_keys.buckets, "head": redis_keys.head, "dedupe": redis_keys.ids}
        used = {name: await self._used(key(USER, SEQUENCE)) for name, key in names.items()}
        in_list = await self._used(self._list.key(USER))
        per_event = {name: round(number / NUM_EVENTS, 1) for name, number in {**used, "list": in_list}.items()}
        sums = {"all": sum(used.values()), "without_dedupe": sum(used.values()) - used["dedupe"]}
        return {"bytes_per_event": per_event} | {
            f"bytes_share_of_list_{name}": round(number / in_list, 3) for name, number in sums.items()
        }

    async def _used(self, key: str) -> int:
        return int(await self._redis.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0) or 0)


async def _turns(
    num_rounds: int, ours: Callable[[], Awaitable[Any]], peer: Callable[[], Awaitable[Any]]
) -> tuple[float, float]:
    """Median milliseconds of both, after one round that does not count; who begins changes every round."""
    taken_ms: dict[Any, list[float]] = {ours: [], peer: []}
    for number in range(num_rounds + 1):
        for work in (ours, peer) if number % 2 else (peer, ours):
            start_s = time.perf_counter()
            await work()
            if number:
                taken_ms[work].append((time.perf_counter() - start_s) * 1000)
    return statistics.median(taken_ms[ours]), statistics.median(taken_ms[peer])


def enriched_case() -> Case:
    """The engagement sequence of the repository's definitions: 16 columns, texts, lists and nulls."""
    definitions = _definitions()
    sequence = definitions.sequences[SEQUENCE]
    rows = [_completed(row) for row in made_up_rows(sequence, random.Random(11), NUM_EVENTS)]
    return Case("enriched", definitions, rows, MsgpackPacking(Routing(definitions).stored_schemas[SEQUENCE]))


def minimal_case() -> Case:
    """24 bytes an event: time, id, pin, type."""
    definitions = _definitions(columns=CORE)
    dice, types = random.Random(12), definitions.sequences[SEQUENCE].event_types
    rows, now_ms = [], SYSTEM_CLOCK.now_ms()
    for number in range(NUM_EVENTS):
        row = {
            "event_id": f"{dice.getrandbits(32):08x}",
            "event_type": dice.choice(types),
            "event_time_ms": now_ms - (NUM_EVENTS - number) * 600_000 + dice.randrange(500_000),
            "pin_id": f"p{dice.randrange(10**6):06d}",
        }
        rows.append(_completed(row))
    return Case("minimal", definitions, rows, FixedPacking(Routing(definitions).stored_schemas[SEQUENCE], types))


def _definitions(**changes: Any) -> Definitions:
    found = repository_definitions()
    sequence = found.sequences[SEQUENCE].model_copy(update={"max_events": NUM_EVENTS, **changes})
    return found.model_copy(update={"sequences": {SEQUENCE: sequence}})


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    """With the columns of an envelope that the sequence does not store."""
    absent = {"surface": "", "request_id": "", "traceparent": "", "attributes": b"", "definitions_version": "bench"}
    return absent | {"received_time_ms": row["event_time_ms"], "enriched_time_ms": row["event_time_ms"]} | row


def measure() -> dict[str, Any]:
    """Both kinds of events; the goals are for the enriched ones."""

    async def run(url: str, case: Case) -> dict[str, Any]:
        client = RedisClient(url, timeout_s=60.0, connect_timeout_s=5.0)
        try:
            return await Bench(client, case).measure()
        finally:
            await client.connection.aclose()

    rows = []
    for case in (enriched_case(), minimal_case()):
        with Valkey() as valkey:
            rows.append(asyncio.run(run(valkey.url, case)))
    enriched = rows[0]
    read, size = enriched["full_read"], enriched["bytes_share_of_list_all"]
    return {
        "peer": "Redis LIST, LPUSH and LTRIM; msgpack per event (enriched), 24 bytes of struct per event (minimal)",
        "rows": rows,
        "gates": [
            gate(
                f"read {NUM_EVENTS:,} events, share of the LIST's time", read["store_ms"] / read["list_ms"], READ_GOAL
            ),
            gate("bytes with dedupe, share of the LIST's", size, BYTES_GOAL),
        ],
    }
