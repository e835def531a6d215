"""One Kafka record as services see it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """`value` None is a tombstone. Headers that are no text are left out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]
    timestamp_ms: int


def record_of(fetched: Any) -> Record:
    """What aiokafka fetched, as a Record."""
    return Record(
        fetched.topic,
        fetched.partition,
        fetched.offset,
        fetched.key,
        fetched.value,
        text_headers(fetched.headers),
        fetched.timestamp,
    )


def text_headers(pairs: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes]) -> dict[str, str]:
    """Kafka's byte headers as text."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return {key: value.decode("utf-8", "replace") for key, value in items if value is not None}


def byte_headers(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Text headers as Kafka wants them."""
    return [(key, value.encode()) for key, value in headers.items()]
