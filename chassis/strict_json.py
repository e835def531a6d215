"""JSON of files that somebody else wrote: one meaning or none.

A name that is there twice, or a number that is none, is read in one way by one reader and in another by the next.
"""

import json
from typing import Any


def loads(data: bytes | str) -> Any:
    """The value. Raises: ValueError for what is no JSON, for a name twice in an object, for NaN and Infinity, and for
    nesting too deep to be read."""
    try:
        return json.loads(data, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a name is there twice: {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")
