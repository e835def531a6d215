"""Served feeds for ExplainFeed in the zone's Valkey, under blender:explain:."""

import cramjam

from chassis.errors import Corrupt, NotFound
from chassis.redis.client import RedisClient, translated
from services.blender.domain.served_feed import ServedFeed
from services.blender.outbound import kafka_served_feed_messages

PREFIX = "blender:explain:"
STORE = "the store of explanations"
LEVEL = 3  # zstd: 100 kB of candidates become about 15 kB in under a millisecond


class RedisExplanations:
    """ExplanationStore: the bytes of the served log, compressed."""

    def __init__(self, redis: RedisClient, ttl_s: int) -> None:
        self._redis, self._ttl_s = redis, ttl_s

    async def load(self, request_id: str) -> ServedFeed:
        """See ExplanationStore. Raises: Corrupt when the stored bytes are damaged."""
        async with translated(STORE):
            packed: bytes | None = await self._redis.connection.get(PREFIX + request_id)  # type: ignore[assignment]
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
        """Keep the encoded feed under its request id."""
        packed = bytes(cramjam.zstd.compress(encoded, LEVEL))
        async with translated(STORE):
            await self._redis.connection.set(PREFIX + feed.request_id, packed, ex=self._ttl_s)
