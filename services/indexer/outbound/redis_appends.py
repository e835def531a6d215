"""An envelope's writes as calls of `append.lua`: few calls with few, packed arguments, for each one costs the client
more than the server.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from services.indexer.domain.users import ACTED_WINDOW_MS, MAX_PINS
from services.indexer.domain.writes import EnvelopeWrites, SequenceRows
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_scripts import Argument, Call, Script

USERS_PER_CALL = 32  # a script holds up all others: about half a millisecond at two events each
_ROW = struct.Struct("<d12s8sH")  # event time, id digest, payload digest, length of the id
_OLDEST = struct.Struct("<d")
_PIN = struct.Struct("<dH")  # time, length of the pin id


@dataclass
class UserAppend:
    """What one envelope adds to one user, packed."""

    sequences: list[SequenceRows] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    pin_keys: list[str] = field(default_factory=list)
    pins: list[bytes] = field(default_factory=list)

    def keys(self, user_id: str) -> list[str]:
        """In the order that the script takes them."""
        names = [redis_keys.user(user_id)]
        for each in self.sequences:
            names += [name(user_id, each.sequence) for name in (redis_keys.buckets, redis_keys.head, redis_keys.ids)]
        return [*names, *self.pin_keys]

    def arguments(self) -> list[Argument]:
        """In the order that the script takes them."""
        return [len(self.sequences), len(self.pins), *self.rows, *self.pins]

    def add_pins(self, key: str, pins: Mapping[str, int], oldest_ms: int = 0) -> None:
        """Pins of one list; those before `oldest_ms` leave it."""
        self.pin_keys.append(key)
        parts = [_OLDEST.pack(oldest_ms)]
        for pin_id, time_ms in pins.items():
            name = pin_id.encode()
            parts += (_PIN.pack(time_ms, len(name)), name)
        self.pins.append(b"".join(parts))


def user_appends(writes: EnvelopeWrites, rows: RedisRows, now_ms: int) -> dict[str, UserAppend]:
    """By user id, in the order of the ids."""
    users: defaultdict[str, UserAppend] = defaultdict(UserAppend)
    for each in writes.sequences:
        for user_id, packed in _rows_by_user(each, rows).items():
            users[user_id].sequences.append(each)
            users[user_id].rows.append(packed)
    for user_id, pins in writes.acted.items():
        users[user_id].add_pins(redis_keys.acted(user_id), pins, now_ms - ACTED_WINDOW_MS)
    for user_id, pins in writes.blocked.items():
        users[user_id].add_pins(redis_keys.blocked(user_id), pins)
    for surface, times in writes.viewed_by_surface.items():
        for user_id, pins in times.items():
            users[user_id].add_pins(redis_keys.seen(user_id, surface), pins)
    return dict(sorted(users.items()))


def append_calls(script: Script, users: Mapping[str, UserAppend], now_ms: int) -> list[Call]:
    """Each call takes some users, all of each."""
    return [
        Call(
            script,
            [name for user_id, user in some for name in user.keys(user_id)],
            [now_ms, MAX_PINS, *(argument for _, user in some for argument in user.arguments())],
        )
        for some in _chunks(users)
    ]


def _chunks(users: Mapping[str, UserAppend]) -> Iterator[list[tuple[str, UserAppend]]]:
    items = iter(users.items())
    while some := list(islice(items, USERS_PER_CALL)):
        yield some


def _rows_by_user(each: SequenceRows, rows: RedisRows) -> dict[str, bytes]:
    encoded = rows.codec(each.rows.schema).encode(each.rows)
    parts: dict[str, list[bytes]] = {}
    columns: Sequence[Sequence[object]] = (each.event_times_ms, each.id_digests, each.payload_digests)
    for user_id, event_id, row, *rest in zip(each.user_ids, each.event_ids, encoded, *columns, strict=True):
        name = event_id.encode()
        parts.setdefault(user_id, []).extend((_ROW.pack(*rest, len(name)), name, row))
    return {user_id: b"".join(some) for user_id, some in parts.items()}
