"""Finds keys that hold another kind of value than they must: what is in the store can be made again, a stall cannot.

Whoever wrote them destroyed what was there before; `corkboard rebuild` brings it back from the lake and the topic.
"""

from collections.abc import Iterable, Mapping, Sequence

from services.indexer.outbound.redis_scripts import Argument, Call

TYPES: Mapping[str, bytes] = {
    "u:": b"hash",
    "s:": b"hash",
    "h:": b"string",
    "d:": b"hash",
    "a:": b"zset",
    "x:": b"zset",
    "n:": b"zset",
    "e:": b"hash",
    "p:": b"string",
}
TOGETHER = ("s:", "h:", "d:")  # of one user and sequence: each alone would tell another story


def typed_keys(calls: Iterable[Call | tuple[Argument, ...]]) -> Sequence[str]:
    """The keys of these calls whose type is known, each once."""
    found: list[str] = []
    for call in calls:
        found += call.keys if isinstance(call, Call) else [str(call[1])] if len(call) > 1 else []
    return [key for key in dict.fromkeys(found) if key[:2] in TYPES]


def to_remove(types: Mapping[str, bytes]) -> Sequence[str]:
    """Of key -> type found: the keys of a wrong type, and what belongs to them."""
    wrong = [key for key, found in types.items() if found not in (b"none", TYPES[key[:2]])]
    return [each for key in wrong for each in _with_its_kin(key)]


def _with_its_kin(key: str) -> list[str]:
    prefix, rest = key[:2], key[2:]
    return [each + rest for each in TOGETHER] if prefix in TOGETHER else [key]
