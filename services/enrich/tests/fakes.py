"""In-memory twins of enrich's ports."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pyarrow as pa

from chassis.errors import Unavailable
from sequences.engine.lookup import Row
from sequences.engine.result import RowFailure
from services.enrich.domain.pin import EnrichedPin


class InMemoryEnrichedEvents:
    """Keeps envelopes in order; raises while `is_away`."""

    def __init__(self) -> None:
        self.envelopes: list[tuple[int, pa.RecordBatch]] = []
        self.is_away = False

    async def publish(self, partition: int, batch: pa.RecordBatch) -> None:
        if self.is_away:
            raise Unavailable("away")
        self.envelopes.append((partition, batch))


class InMemoryEnrichedPins:
    """Keeps every change in order; None = tombstone."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, EnrichedPin | None]] = []

    async def publish(self, pin: EnrichedPin) -> None:
        self.changes.append((pin.published.pin_id, pin))

    async def delete(self, pin_id: str) -> None:
        self.changes.append((pin_id, None))


class InMemoryParking:
    """Keeps what was set aside."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self.pins: list[tuple[str, bytes, str]] = []

    async def park_rows(self, batch: pa.RecordBatch, failures: Sequence[RowFailure], partition: int) -> None:
        ids = batch.column("event_id").to_pylist()
        self.rows.extend((ids[failure.row], failure.reason) for failure in failures)

    async def park_pin(self, pin_id: str, payload: bytes, failure: RowFailure) -> None:
        self.pins.append((pin_id, payload, failure.reason))


class AbsentPins:
    """A source that cannot be asked."""

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        raise Unavailable("the file of pins is away")


class HistoricPins:
    """A source that knows a good pin, a pin with a price of another type, which executors choke on, and no other."""

    ROWS: ClassVar[dict[str, Row]] = {
        "good": {"topics": ["art", "wood"], "advertiser_id": "ad", "price_micros": 20_000_000, "created_time_ms": 7},
        "poison": {"topics": [], "price_micros": "dear"},
    }

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        return {key: self.ROWS[key] for key in keys if key in self.ROWS}
