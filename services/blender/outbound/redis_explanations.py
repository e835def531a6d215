"""Served feeds for ExplainFeed in the zone's Valkey, under blender:explain:."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import cramjam

from chassis.errors import CorkboardError, Corrupt, NotFound, Unavailable
from chassis.redis.client import RedisClient, translated
from services.blender.domain.served_feed import ServedFeed
from services.blender.outbound import kafka_served_feed_messages

PREFIX = "blender:explain:"
STORE = "the store of explanations"
LEVEL = 3  # zstd: 30 kB of candidates become half of it in a tenth of a millisecond
LINGER_S = 0.25  # feeds of this time share one round trip, which is most of what keeping one costs


@dataclass(eq=False)
class _Round:
    """Feeds that are written together."""

    packed_by_request: dict[str, bytes]
    written: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RedisExplanations:
    """ExplanationStore: the bytes of the served log, compressed. What is not written yet is read from this process."""

    def __init__(self, redis: RedisClient, ttl_s: int, linger_s: float = LINGER_S) -> None:
        self._redis, self._ttl_s, self._linger_s = redis, ttl_s, linger_s
        self._gathering: _Round | None = None
        self._unwritten: dict[str, bytes] = {}

    async def load(self, request_id: str) -> ServedFeed:
        """See ExplanationStore. Raises: Corrupt when the stored bytes are damaged."""
        packed = self._unwritten.get(request_id) or await self._stored(request_id)
        if packed is None:
            raise NotFound(
                f"no feed with request id {request_id} in the last {self._ttl_s} s",
                field="request_id",
                reason="unknown_request_id",
            )
        try:
            return kafka_served_feed_messages.decode(bytes(cramjam.zstd.decompress(packed)))
        except cramjam.DecompressionError as error:
            raise Corrupt(f"explanation of {request_id} is damaged: {error}") from error

    async def save(self, feed: ServedFeed, encoded: bytes) -> None:
        """Keep the encoded feed under its request id; whoever comes first writes for those who come meanwhile."""
        packed = bytes(cramjam.zstd.compress(encoded, LEVEL))
        self._unwritten[feed.request_id] = packed
        if self._gathering is None:
            await self._lead(_Round({feed.request_id: packed}))
        else:
            self._gathering.packed_by_request[feed.request_id] = packed
            await asyncio.shield(self._gathering.written)

    async def _lead(self, gathering: _Round) -> None:
        failure: CorkboardError | None = Unavailable(f"{STORE} was not written to: its writer was stopped")
        try:
            self._gathering = gathering
            try:
                await asyncio.sleep(self._linger_s)
            finally:
                self._gathering = None
            await self._write(gathering.packed_by_request)
            failure = None
        except CorkboardError as error:
            failure = error
            raise
        finally:
            for request_id in gathering.packed_by_request:
                self._unwritten.pop(request_id, None)
            if failure is None:
                gathering.written.set_result(None)
            else:
                gathering.written.set_exception(failure)
                gathering.written.exception()  # nobody else may wait

    async def _write(self, packed_by_request: Mapping[str, bytes]) -> None:
        async with translated(STORE), self._redis.connection.pipeline(transaction=False) as pipeline:
            for request_id, packed in packed_by_request.items():
                pipeline.set(PREFIX + request_id, packed, ex=self._ttl_s)
            await pipeline.execute()

    async def _stored(self, request_id: str) -> bytes | None:
        async with translated(STORE):
            return await self._redis.connection.get(PREFIX + request_id)  # type: ignore[return-value]
