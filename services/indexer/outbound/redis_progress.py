"""How far a rebuild is, kept in the store that it fills: a flush takes both, so neither outlives the other."""

import json

from services.indexer.domain.rebuild_progress import RebuildProgress
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection


class RedisProgress:
    """One key. Every method raises Unavailable when the store is away."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def get(self) -> RebuildProgress | None:
        """None when no rebuild was begun since the store was last empty, or the last one ended."""
        [value] = await self._connection.write([("GET", redis_keys.REBUILD)])
        return RebuildProgress.from_json(json.loads(value)) if value is not None else None

    async def put(self, progress: RebuildProgress) -> None:
        """Replace what was there."""
        await self._connection.write([("SET", redis_keys.REBUILD, json.dumps(progress.to_json()))])

    async def clear(self) -> None:
        """The rebuild has ended."""
        await self._connection.write([("DEL", redis_keys.REBUILD)])
