"""Digest of what the online store holds: `python -m services.indexer.offline.digest --sequence engagement`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from chassis.config import load
from chassis.deadline import Deadline
from protos.event_schema import ACCEPTED
from services.indexer.config import Config
from services.indexer.domain.digest import SequencesDigest, combined, user_digest
from services.indexer.ports import SequenceQuery, SequenceStore
from services.indexer.wiring import redis_store

USERS_PER_READ = 100
ALL_EVENTS = 1 << 31
SCHEMA = pa.schema([ACCEPTED.field(name) for name in ("event_time_ms", "event_id", "event_type", "pin_id")])


async def digest(store: SequenceStore, sequence: str, max_events: int = ALL_EVENTS) -> SequencesDigest:
    """Over the newest `max_events` of every user; `domain.digest.digest_of` gives the same for what was sent."""
    user_ids = sorted({user_id async for user_id in store.user_ids(sequence)})
    digests: dict[str, str] = {}
    num_events = 0
    for at in range(0, len(user_ids), USERS_PER_READ):
        chunk = user_ids[at : at + USERS_PER_READ]
        found = await store.read([SequenceQuery(user, sequence, max_events, 0, SCHEMA) for user in chunk])
        for user_id, stored in zip(chunk, found, strict=True):
            if stored.rows.num_rows:
                columns = (stored.rows.column(name).to_pylist() for name in SCHEMA.names)
                digests[user_id] = user_digest(zip(*columns, strict=True))
                num_events += stored.rows.num_rows
    return combined(digests, num_events)


async def _run(arguments: argparse.Namespace) -> SequencesDigest:
    store = redis_store(load(Config, "INDEXER_"))
    try:
        return await digest(store.sequences, arguments.sequence, arguments.max_events)
    finally:
        if store.part is not None:
            await store.part.stop(Deadline.after(1.0))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the digest as JSON; settings come from INDEXER_* like the service's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequence", default="engagement")
    parser.add_argument("--max-events", type=int, default=ALL_EVENTS, help="newest events of each user")
    sys.stdout.write(json.dumps(asdict(asyncio.run(_run(parser.parse_args(argv))))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
