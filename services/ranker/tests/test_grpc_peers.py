"""What the root reads from an indexer's answers, over real gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from grpc import aio

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.grpc.client import ChannelPool
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.tables import batch_to_table
from services.ranker.domain.ranking import PinFeatures, SequenceEvent
from services.ranker.outbound.grpc_indexer import EVENT_COLUMNS, PIN_COLUMNS, GrpcPinFeatures, GrpcSequences, read_pins

EVENTS = pa.RecordBatch.from_pylist(
    [{"event_id": "e1", "event_type": "save", "pin_id": "a", "event_time_ms": 5, "traceparent": None}],
    schema=pa.schema(
        [
            ("event_id", pa.string()),
            ("event_type", pa.string()),
            ("pin_id", pa.string()),
            ("event_time_ms", pa.int64()),
            ("traceparent", pa.string()),
        ]
    ),
)


def _pins(vectors: list[list[float] | None], kind: pa.DataType) -> pa.RecordBatch:
    count = len(vectors)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"p{n}" for n in range(count)]),
            pa.array(vectors, type=kind),
            pa.array([7] * (count - 1) + [None], type=pa.int64()),
            pa.array([9] * count, type=pa.int64()),
            pa.array(["hash-1"] * count),
        ],
        names=list(PIN_COLUMNS),
    )


class _Indexer(rpc.SequenceServiceServicer, rpc.FeatureServiceServicer):
    async def GetSequence(self, request: pb.GetSequenceRequest, context: Any) -> pb.GetSequenceResponse:
        assert tuple(request.columns) == EVENT_COLUMNS
        known = request.user_id == "ann"
        return pb.GetSequenceResponse(
            events=batch_to_table(EVENTS) if known else None,
            sequence_version=4,
            num_total=7 if known else 0,
            definitions_version="d-1",
        )

    async def BatchGetPins(self, request: pb.BatchGetPinsRequest, context: Any) -> pb.BatchGetPinsResponse:
        return pb.BatchGetPinsResponse(pins=batch_to_table(_pins([[1.0, 0.0]], pa.list_(pa.float32()))))


@asynccontextmanager
async def _pool() -> AsyncIterator[ChannelPool]:
    server = aio.server()
    rpc.add_SequenceServiceServicer_to_server(_Indexer(), server)  # type: ignore[abstract]
    rpc.add_FeatureServiceServicer_to_server(_Indexer(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pool = ChannelPool(f"127.0.0.1:{port}")
    try:
        yield pool
    finally:
        await pool.stop(Deadline.after(1))
        await server.stop(0)


async def test_sequences_come_with_their_version_and_empty_ones_too() -> None:
    async with _pool() as pool:
        sequences = GrpcSequences(pool, sequence="engagement", max_events=10, timeout_s=2)
        known = await sequences.recent("ann", Deadline.after(2))
        assert known.events == (SequenceEvent("e1", "save", "a", 5, ""),)
        assert (known.version, known.num_total, known.definitions_version) == (4, 7, "d-1")
        assert (await sequences.recent("nobody", Deadline.after(2))).events == ()


async def test_pin_features_are_read_by_id() -> None:
    async with _pool() as pool:
        features = await GrpcPinFeatures(pool, timeout_s=2).features(["p0"], Deadline.after(2))
    assert features["p0"].price_micros == 9
    np.testing.assert_array_equal(np.asarray(features["p0"].content_vector), [1.0, 0.0])


async def test_a_peer_that_is_away_is_unavailable() -> None:
    pool = ChannelPool("127.0.0.1:1")
    with pytest.raises(Unavailable):
        await GrpcPinFeatures(pool, timeout_s=2).features(["p0"], Deadline.after(2))
    await pool.stop(Deadline.after(1))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_absent_and_zero_vectors_are_unknown(kind: pa.DataType) -> None:
    found = read_pins(_pins([[1.0, 2.0], None, [0.0, 0.0], [3.0, 4.0]], kind))
    assert [None if f.content_vector is None else f.content_vector.tolist() for f in found.values()] == [
        [1.0, 2.0],
        None,
        None,
        [3.0, 4.0],
    ]
    assert found["p3"] == PinFeatures(found["p3"].content_vector, 0, 9, "hash-1")
