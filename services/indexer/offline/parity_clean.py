"""Empties what a shadow wrote: `python -m services.indexer.offline.parity_clean`; INDEXER_* say where it is.

Refuses database 0 of a server, which is the real online store, and a lake that is not under a folder named "shadow".
"""

import asyncio
import shutil
import sys
from pathlib import Path

from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid
from chassis.redis.client import translated
from services.indexer.config import Config
from services.indexer.wiring import redis_connection

SHADOWS = "shadow"
STOP_S = 2.0


async def clean(config: Config) -> None:
    """Returns when nothing is left. Raises: Invalid for the real store, Unavailable."""
    client, _ = redis_connection(config)
    database = client.connection.connection_pool.connection_kwargs.get("db", 0)
    if not database:
        raise Invalid("database 0 is the real online store; a shadow has another one", field="redis_url")
    lake = Path(config.lake_dir)
    if lake.parent.name != SHADOWS:
        raise Invalid(f"{lake} is not the lake of a shadow", field="lake_dir")
    try:
        async with translated():
            await client.connection.flushdb()
    finally:
        await client.stop(Deadline.after(STOP_S))
    await asyncio.to_thread(shutil.rmtree, lake.parent, ignore_errors=True)  # with what killed runs left


def main() -> int:
    """0 when nothing is left."""
    try:
        asyncio.run(clean(load(Config, "INDEXER_")))
    except CorkboardError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
