"""Seen and blocked pins, vectors and profile of users in Redis or Valkey."""

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chassis.clock import Clock
from chassis.errors import Corrupt
from services.indexer.domain.users import MAX_PINS, PinServing, UserQuery, UserRecord, UserVector
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_scripts import Argument, Call, script

_VECTOR_HEAD = struct.Struct(">QH")  # computed time, length of the encoder's version
_TIME_BYTES = 8
_PROFILE = b"profile:"
DAY_MS = 86_400_000  # kept beyond the window, so that a changed window still finds something


class RedisUserStore:
    """One key per user and kind; every list is bounded."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._put_newer = script("put_newer")
        self._read_user = script("read_user")

    async def mark_served(self, servings: Sequence[PinServing]) -> None:
        await self._connection.write([call for serving in servings for call in self._served(serving)])

    async def put_vectors(self, vectors: Sequence[UserVector]) -> None:
        await self._connection.write(
            [
                Call(self._put_newer, (redis_keys.vectors(each.user_id),), (_to_bytes(each), _TIME_BYTES, each.encoder))
                for each in vectors
            ]
        )

    async def forget_vectors(self, user_ids: Sequence[str]) -> None:
        await self._connection.write([("DEL", redis_keys.vectors(user_id)) for user_id in user_ids])

    async def read(self, query: UserQuery) -> UserRecord:
        user_id = query.user_id
        kinds = (redis_keys.vectors, redis_keys.user, redis_keys.blocked, redis_keys.acted)
        names = [name(user_id) for name in kinds]
        names += [redis_keys.seen(user_id, query.surface)] if query.surface else []
        call = Call(self._read_user, names, (query.seen_since_ms, query.acted_since_ms))
        [(vectors, user, blocked, seen, acted)] = await self._connection.read([call])
        entries = _pairs(user)
        profile = {
            name.removeprefix(_PROFILE).decode(): value.decode()
            for name, value in entries.items()
            if name.startswith(_PROFILE)
        }
        return UserRecord(
            vectors=tuple(_from_bytes(user_id, name.decode(), value) for name, value in _pairs(vectors).items()),
            profile=profile,
            seen_pin_ids=_unique([*json.loads(seen), *json.loads(acted)]),
            blocked_pin_ids=_unique(json.loads(blocked)),
            version=int(entries.get(b"version", 0)),
        )

    def _served(self, serving: PinServing) -> list[tuple[Argument, ...]]:
        calls: list[tuple[Argument, ...]] = []
        if serving.locale:
            calls.append(("HSET", redis_keys.user(serving.user_id), _PROFILE + b"locale", serving.locale))
        window_ms = serving.window_s * 1_000 + DAY_MS
        if serving.pin_ids:
            key = redis_keys.seen(serving.user_id, serving.surface)
            scores = (part for pin_id in serving.pin_ids for part in (serving.served_time_ms, pin_id))
            calls += [
                ("ZADD", key, "GT", *scores),
                ("ZREMRANGEBYSCORE", key, "-inf", f"({self._clock.now_ms() - window_ms}"),
                ("ZREMRANGEBYRANK", key, 0, -MAX_PINS - 1),
                ("PEXPIRE", key, window_ms),
            ]
        return calls


def _unique(pin_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pin_ids))


def _pairs(found: Any) -> dict[bytes, bytes]:
    return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))


def _to_bytes(each: UserVector) -> bytes:
    version = each.encoder_version.encode()
    return _VECTOR_HEAD.pack(each.computed_time_ms, len(version)) + version + each.vector.astype("<f4").tobytes()


def _from_bytes(user_id: str, encoder: str, value: bytes) -> UserVector:
    try:
        computed_time_ms, num_bytes = _VECTOR_HEAD.unpack_from(value)
        begin = _VECTOR_HEAD.size + num_bytes
        vector = np.frombuffer(value, dtype="<f4", offset=begin)
        version = value[_VECTOR_HEAD.size : begin].decode()
    except (struct.error, ValueError) as error:
        raise Corrupt(f"vector {encoder!r} of a user has {len(value)} unreadable bytes") from error
    return UserVector(user_id, encoder, version, vector, computed_time_ms)
