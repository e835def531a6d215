"""The one way to the online store: a time limit on each round trip, and one error when it is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from chassis.errors import DeadlineExceeded, Unavailable
from chassis.redis.client import RedisClient, translated
from services.indexer.outbound.redis_scripts import Argument, Call, execute

SCAN_COUNT = 1_000


class RedisConnection:
    """A client with this service's time limits, in seconds: reads answer feeds, writes may wait for a slow store."""

    def __init__(self, client: RedisClient, *, read_timeout_s: float, write_timeout_s: float) -> None:
        self._client = client
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s

    async def read(self, calls: Sequence[Call | tuple[Argument, ...]], *, weight: int = 1) -> list[Any]:
        """One round trip. `weight` times the limit for a read of many. Raises: Unavailable."""
        async with self._limited(self._read_timeout_s * weight):
            return await execute(self._redis, calls)

    async def write(self, calls: Sequence[Call | tuple[Argument, ...]]) -> list[Any]:
        """One round trip; nothing is sent for no calls. Raises: Unavailable."""
        if not calls:
            return []
        async with self._limited(self._write_timeout_s):
            return await execute(self._redis, calls)

    async def keys(self, pattern: str) -> AsyncIterator[bytes]:
        """Every key that is there from begin to end. Raises: Unavailable."""
        cursor = 0
        while True:
            async with self._limited(self._write_timeout_s):
                cursor, found = await self._redis.scan(cursor, match=pattern, count=SCAN_COUNT)
            for key in found:
                yield key if isinstance(key, bytes) else key.encode()
            if not cursor:
                return

    @property
    def _redis(self) -> "Redis":
        return self._client.connection

    @asynccontextmanager
    async def _limited(self, limit_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(limit_s), translated():
                yield
        except (TimeoutError, DeadlineExceeded) as error:
            raise Unavailable(f"online store did not answer within {limit_s:g} s", reason="store_timeout") from error
