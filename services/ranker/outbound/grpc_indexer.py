"""Sequences and pin features from the indexer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chassis.deadline import Deadline
from chassis.errors import Corrupt
from chassis.grpc.client import ChannelPool
from modeling.arrays import Floats
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1.indexer_pb2_grpc import FeatureServiceStub, SequenceServiceStub
from protos.tables import table_to_batch
from services.ranker.domain.event_columns import EVENTS, sequence_events
from services.ranker.domain.ranking import PinFeatures, SequenceEvent, UserSequence

EVENT_COLUMNS = tuple(EVENTS.names)
VECTOR_VERSION = "content_vector_version"
PIN_COLUMNS = ("pin_id", "content_vector", "created_time_ms", "price_micros", VECTOR_VERSION)
MAX_PINS = 2_000  # of one BatchGetPins


class GrpcSequences:
    """One GetSequence per ranking."""

    def __init__(self, pool: ChannelPool, *, sequence: str, max_events: int, timeout_s: float) -> None:
        self._pool = pool
        self._sequence = sequence
        self._max_events = max_events
        self._timeout_s = timeout_s

    async def recent(self, user_id: str, deadline: Deadline) -> UserSequence:
        """The newest engagements. Raises: Unavailable, DeadlineExceeded."""
        request = pb.GetSequenceRequest(
            user_id=user_id, sequence=self._sequence, max_events=self._max_events, columns=EVENT_COLUMNS
        )
        response = await self._pool.hedged(
            SequenceServiceStub, "GetSequence", request, deadline=deadline.capped(self._timeout_s)
        )
        events = read_events(table_to_batch(response.events)) if response.events.ipc_stream else ()
        return UserSequence(events, response.sequence_version, response.num_total, response.definitions_version)


class GrpcPinFeatures:
    """One BatchGetPins per ranking, for the pins that are not cached."""

    def __init__(self, pool: ChannelPool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        """Features of the known pins; beyond 2,000 ids the rest stays unknown.

        Raises: Unavailable, DeadlineExceeded.
        """
        if not pin_ids:
            return {}
        request = pb.BatchGetPinsRequest(pin_ids=pin_ids[:MAX_PINS], columns=PIN_COLUMNS)
        response = await self._pool.hedged(
            FeatureServiceStub, "BatchGetPins", request, deadline=deadline.capped(self._timeout_s)
        )
        return read_pins(table_to_batch(response.pins)) if response.pins.ipc_stream else {}


def read_events(batch: pa.RecordBatch) -> tuple[SequenceEvent, ...]:
    """Rows of a sequence, in its order. Raises: Corrupt when they have other columns or types than were asked for."""
    with _as_asked("sequence"):
        rows = batch.select(EVENT_COLUMNS).cast(EVENTS)
    return sequence_events(rows)


def read_pins(batch: pa.RecordBatch) -> dict[str, PinFeatures]:
    """Rows of the pin table by pin id. Raises: Corrupt as `read_events`; only the version of vectors may be absent."""
    with _as_asked("pin table"):
        vectors = _vectors(batch.column("content_vector"))
        created, prices = (
            batch.column(name).cast(pa.int64()).to_pylist() for name in ("created_time_ms", "price_micros")
        )
        has_versions = VECTOR_VERSION in batch.schema.names
        versions = batch.column(VECTOR_VERSION).to_pylist() if has_versions else [""] * len(vectors)
        rows = zip(batch.column("pin_id").to_pylist(), vectors, created, prices, versions, strict=True)
    return {
        pin_id: PinFeatures(vector, created_ms or 0, price or 0, version or "")
        for pin_id, vector, created_ms, price, version in rows
    }


@contextmanager
def _as_asked(what: str) -> Iterator[None]:
    """What a peer of another version may send is no bug of ours. Raises: Corrupt."""
    try:
        yield
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise Corrupt(f"the indexer's {what} is not as it was asked for: {error}") from error


def _vectors(column: pa.Array) -> list[Floats | None]:
    """One view per row into the flat values; None where a row is absent, empty or all zeros."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = np.asarray(column.drop_null().flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    ends = np.cumsum(lengths, dtype=np.int64)
    rows = [flat[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
    return [row if row.any() else None for row in rows]
