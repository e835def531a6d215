"""The estimate of `definitions lint` against the memory that a real Valkey says it uses."""

import random
from typing import Any

import pytest

from chassis.redis.client import RedisClient
from sequences.definitions.storage_cost import storage_cost
from sequences.definitions.testing import made_up_rows
from services.indexer.domain.routing import Routing
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.tests.conftest import redis_stores
from services.indexer.tests.samples import NOW_MS, definitions, envelope

MINUTE_MS = 60_000
ENVELOPE_ROWS = 200  # so that the last rows stay in the head


@pytest.mark.servers
@pytest.mark.parametrize("name", ["engagement", "negative"])
async def test_a_full_sequence_costs_about_what_lint_says(
    redis_client: RedisClient, redis_connection: RedisConnection, name: str
) -> None:
    known = definitions()
    sequence, routing, store = known.sequences[name], Routing(known), redis_stores(redis_connection).sequences
    rows = made_up_rows(sequence, random.Random(3), sequence.max_events)
    provenance = {"definitions_version": "d", "enriched_time_ms": NOW_MS}
    for at, row in enumerate(rows):
        row |= {"user_id": "one", "received_time_ms": NOW_MS, "attributes": b""} | provenance
        row["event_time_ms"] = NOW_MS - (len(rows) - at) * MINUTE_MS
    for at in range(0, len(rows), ENVELOPE_ROWS):
        await store.append(routing.route(envelope(rows[at : at + ENVELOPE_ROWS]), NOW_MS))
    keys = await redis_client.connection.keys(f"*:{{one}}:{name}")
    connection: Any = redis_client.connection
    usage = [await connection.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys]
    estimated = storage_cost(known, sequence).bytes_per_user
    assert 0.67 < estimated / sum(usage) < 1.5, f"{estimated:,} B estimated, {sum(usage):,} B used by {keys}"
