"""Removes keys that hold another kind of value than they must: what is in the store can be made again, a stall cannot.

Whoever wrote them destroyed what was there before; `corkboard rebuild` brings it back from the lake and the topic.
"""

from collections.abc import Iterable, Mapping, Sequence

from chassis.logs import get_logger
from services.indexer.outbound.redis_connection import RedisConnection

TYPES: Mapping[str, bytes] = {
    "u:": b"hash",
    "s:": b"hash",
    "h:": b"string",
    "d:": b"hash",
    "a:": b"zset",
    "x:": b"zset",
    "n:": b"zset",
}
TOGETHER = ("s:", "h:", "d:")  # of one user and sequence: each alone would tell another story


async def mend(connection: RedisConnection, keys: Iterable[str]) -> Sequence[str]:
    """Remove those of `keys` with a wrong type, and what belongs to them; returns what was removed.

    Raises: Unavailable.
    """
    known = [key for key in dict.fromkeys(keys) if key[:2] in TYPES]
    types = await connection.write([("TYPE", key) for key in known])
    wrong = [key for key, found in zip(known, types, strict=True) if found not in (b"none", TYPES[key[:2]])]
    removed = [each for key in wrong for each in _with_its_kin(key)]
    if removed:
        get_logger(__name__).warning("keys_of_wrong_type_removed", num=len(wrong), cure="corkboard rebuild")
    await connection.write([("DEL", key) for key in removed])
    return removed


def _with_its_kin(key: str) -> list[str]:
    prefix, rest = key[:2], key[2:]
    return [each + rest for each in TOGETHER] if prefix in TOGETHER else [key]
