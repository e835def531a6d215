"""Sessions and explanations in memory, through the same bytes as the real stores."""

import asyncio

from chassis.errors import NotFound, Unavailable
from services.blender.domain.served_feed import ServedFeed
from services.blender.domain.session import Session
from services.blender.outbound import kafka_served_feed_messages, redis_session_bytes


class InMemorySessions:
    """SessionStore. `mood` is ok, away or hang."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.packed: dict[tuple[str, int], bytes] = {}

    async def load(self, session_id: str, page: int) -> Session:
        await self._meet()
        if (session_id, page) not in self.packed:
            raise NotFound(f"session {session_id} has no page {page}", reason="session_lost")
        return redis_session_bytes.decode(self.packed[session_id, page])

    async def save(self, session_id: str, page: int, session: Session) -> None:
        await self._meet()
        self.packed[session_id, page] = redis_session_bytes.encode(session)

    async def _meet(self) -> None:
        if self.mood == "away":
            raise Unavailable("the session store is away", reason="store_unavailable")
        if self.mood == "hang":
            await asyncio.sleep(30)


class InMemoryExplanations:
    """Explanations."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.encoded: dict[str, bytes] = {}

    async def load(self, request_id: str) -> ServedFeed:
        if request_id not in self.encoded:
            raise NotFound(f"no feed with request id {request_id}", field="request_id")
        return kafka_served_feed_messages.decode(self.encoded[request_id])

    async def save(self, feed: ServedFeed, encoded: bytes) -> None:
        if self.mood == "hang":
            await asyncio.sleep(30)
        if self.mood == "away":
            raise Unavailable("the store is away", reason="store_unavailable")
        self.encoded[feed.request_id] = encoded
