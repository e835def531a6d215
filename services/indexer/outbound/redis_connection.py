"""The one way to the online store: time limits, one error when it is away, and no stall on keys of a wrong type."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from chassis.errors import DeadlineExceeded, Unavailable
from chassis.logs import get_logger
from chassis.redis.client import WRONG_TYPE, RedisClient, translated
from services.indexer.outbound.redis_mending import to_remove, typed_keys
from services.indexer.outbound.redis_scripts import Argument, Call, execute

SCAN_COUNT = 1_000

log = get_logger(__name__)


class RedisConnection:
    """A client with this service's time limits, in seconds: reads answer feeds, writes may wait for a slow store."""

    def __init__(self, client: RedisClient, *, read_timeout_s: float, write_timeout_s: float) -> None:
        self._client = client
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s

    async def read(self, calls: Sequence[Call | tuple[Argument, ...]], *, weight: int = 1) -> list[Any]:
        """One round trip. `weight` times the limit for a read of many. Raises: Unavailable."""
        return await self._mended(calls, self._read_timeout_s * weight)

    async def write(self, calls: Sequence[Call | tuple[Argument, ...]]) -> list[Any]:
        """One round trip; nothing is sent for no calls. Raises: Unavailable."""
        if not calls:
            return []
        return await self._mended(calls, self._write_timeout_s)

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

    async def _mended(self, calls: Sequence[Call | tuple[Argument, ...]], limit_s: float) -> list[Any]:
        """The answers; keys of a wrong type are removed first when there are any: nobody may stall on them."""
        try:
            return await self._execute(calls, limit_s)
        except Unavailable as error:
            if error.reason != WRONG_TYPE or not await self._remove_wrong_types(typed_keys(calls)):
                raise
        return await self._execute(calls, limit_s)

    async def _remove_wrong_types(self, keys: Sequence[str]) -> bool:
        types = await self._execute([("TYPE", key) for key in keys], self._write_timeout_s) if keys else []
        removed = to_remove(dict(zip(keys, types, strict=True)))
        if removed:
            log.warning("keys_of_wrong_type_removed", num=len(removed), cure="corkboard rebuild")
            await self._execute([("DEL", key) for key in removed], self._write_timeout_s)
        return bool(removed)

    async def _execute(self, calls: Sequence[Call | tuple[Argument, ...]], limit_s: float) -> list[Any]:
        async with self._limited(limit_s):
            return await execute(self._redis, calls)

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
