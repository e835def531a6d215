"""Paging sessions in the zone's Valkey, under blender:session:."""

from chassis.errors import Corrupt, NotFound
from chassis.redis.client import RedisClient, translated
from services.blender.domain.session import Session
from services.blender.outbound import redis_session_bytes

PREFIX = "blender:session:"
STORE = "the session store"


class RedisSessions:
    """SessionStore: one key for each page that can come next, so that the same page asked twice is cut alike."""

    def __init__(self, redis: RedisClient, ttl_s: int) -> None:
        self._redis, self._ttl_s = redis, ttl_s

    async def load(self, session_id: str, page: int) -> Session:
        """See SessionStore."""
        async with translated(STORE):
            packed: bytes | None = await self._redis.connection.get(_key(session_id, page))  # type: ignore[assignment]
        if packed is None:
            raise NotFound(f"session {session_id} has no page {page}", reason="session_lost")
        try:
            return redis_session_bytes.decode(packed)
        except Corrupt as error:
            raise NotFound(f"session {session_id} is damaged: {error}", reason="session_lost") from error

    async def save(self, session_id: str, page: int, session: Session) -> None:
        """See SessionStore."""
        packed = redis_session_bytes.encode(session)
        async with translated(STORE):
            await self._redis.connection.set(_key(session_id, page), packed, ex=self._ttl_s)


def _key(session_id: str, page: int) -> str:
    return f"{PREFIX}{session_id}:{page}"
