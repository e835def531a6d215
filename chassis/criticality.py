"""How much a request matters: told by its caller in metadata, handed down to every call made for it."""

from collections.abc import Iterable
from contextvars import ContextVar
from enum import IntEnum

HEADER = "criticality"


class Criticality(IntEnum):
    """Under overload lower ones are refused first."""

    SHEDDABLE = 0  # nobody waits: prefetch, batch jobs
    DEFAULT = 1
    CRITICAL = 2  # a person sees the loss at once


_BY_NAME = {each.name.lower(): each for each in Criticality}
_LEVEL = {each: f"/{each.name.lower()}" for each in Criticality}
_current: ContextVar[Criticality] = ContextVar("criticality", default=Criticality.DEFAULT)


def criticality_of(metadata: Iterable[tuple[str, str | bytes]]) -> Criticality:
    """What the caller said; DEFAULT when it said nothing, or nothing known."""
    for key, value in metadata:
        if key == HEADER:
            return _BY_NAME.get(
                value if isinstance(value, str) else value.decode(errors="replace"), Criticality.DEFAULT
            )
    return Criticality.DEFAULT


def set_current_criticality(criticality: Criticality) -> None:
    """Of the request that this task serves."""
    _current.set(criticality)


def prioritised(resource: str) -> str:
    """`resource` with the criticality of the current request as its last level, so that rules may tell them apart."""
    return resource + _LEVEL[_current.get()]


def criticality_headers() -> tuple[tuple[str, str], ...]:
    """Metadata for a call made for the current request; none when it is an ordinary one."""
    current = _current.get()
    return () if current is Criticality.DEFAULT else ((HEADER, current.name.lower()),)
