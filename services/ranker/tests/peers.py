"""An indexer and a leaf over real gRPC whose behaviour a test chooses, and a root that has no other peers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
from grpc import aio

from chassis.errors import Unavailable
from chassis.grpc.server import GrpcDoor
from chassis.grpc.status import to_status
from chassis.lifecycle import Service
from chassis.testing import InMemoryBus
from modeling.arrays import Floats
from protos.common.v1.common_pb2 import ArrowTable
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.ranker.v1 import ranker_pb2
from protos.ranker.v1.ranker_pb2_grpc import (
    RankingServiceStub,
    ScoringServiceServicer,
    add_ScoringServiceServicer_to_server,
)
from protos.tables import batch_to_table
from protos.tensors import numpy_to_tensor
from services.ranker.config import Config
from services.ranker.tests.world import NOW_MS, event, vector
from services.ranker.wiring import build

HANG_S = 30.0


@dataclass
class Mood:
    """`ok`, `hang`, `refuse` (UNAVAILABLE), or whatever the servicer knows besides."""

    name: str = "ok"
    calls: Counter[str] = field(default_factory=Counter)

    async def meet(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        if self.name == "hang":
            await asyncio.sleep(HANG_S)
        if self.name == "refuse":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "refused by the test")
        if self.name == "made up":
            await abort_with_reason(context, f"reason_{self.calls.total()}")


async def abort_with_reason(context: Any, reason: str) -> None:
    """UNAVAILABLE with a reason of one's own, as our services say it."""
    status = to_status(Unavailable("refused by the test", reason=reason))
    await context.abort(status.code, status.message, status.trailing_metadata)


class Indexer(rpc.SequenceServiceServicer, rpc.FeatureServiceServicer):
    """Everybody saved pins 3 and 9, except unknown users. Moods: garbage, no_columns, nulls, other_types."""

    def __init__(self) -> None:
        self.sequences, self.pins = Mood(), Mood()

    async def GetSequence(self, request: pb.GetSequenceRequest, context: Any) -> pb.GetSequenceResponse:
        await self.sequences.meet("GetSequence", context)
        events = [] if request.user_id == "nobody" else [event(number) for number in (3, 9)]
        rows = [
            {"event_id": e.event_id, "event_type": e.event_type, "pin_id": e.pin_id}
            | {"event_time_ms": e.event_time_ms, "traceparent": None}
            for e in events
        ]
        kinds = dict.fromkeys(("event_id", "event_type", "pin_id", "traceparent"), pa.string())
        schema = pa.schema(kinds | {"event_time_ms": pa.int64()})
        table = _spoilt(self.sequences.name, pa.RecordBatch.from_pylist(rows, schema=schema))
        return pb.GetSequenceResponse(events=table, sequence_version=len(events), num_total=len(events))

    async def BatchGetPins(self, request: pb.BatchGetPinsRequest, context: Any) -> pb.BatchGetPinsResponse:
        await self.pins.meet("BatchGetPins", context)
        known = [name for name in request.pin_ids if name.startswith("pin-")]
        columns = {
            "pin_id": pa.array(known, pa.string()),
            "content_vector": pa.array([vector(int(name[4:])).tolist() for name in known], pa.list_(pa.float32())),
            "created_time_ms": pa.array([NOW_MS - 10_000_000] * len(known), pa.int64()),
            "price_micros": pa.array([0] * len(known), pa.int64()),
            "content_vector_version": pa.array(["hash-1"] * len(known), pa.string()),
        }
        return pb.BatchGetPinsResponse(pins=_spoilt(self.pins.name, pa.RecordBatch.from_pydict(columns)))


def _spoilt(mood: str, rows: pa.RecordBatch) -> ArrowTable:
    if mood == "garbage":
        return ArrowTable(ipc_stream=b"this is no Arrow stream")
    if mood == "no_columns":
        return batch_to_table(rows.select(["pin_id"]))
    if mood == "nulls":
        nulls = [pa.nulls(rows.num_rows, each.type) for each in rows.schema]
        return batch_to_table(pa.RecordBatch.from_arrays(nulls, schema=rows.schema))
    if mood == "other_types":
        columns = {name: pa.array([f"text {row}" for row in range(rows.num_rows)]) for name in rows.schema.names}
        return batch_to_table(pa.RecordBatch.from_pydict(columns))
    return batch_to_table(rows)


class Leaf(ScoringServiceServicer):
    """Clicks fall with the place of a candidate. Moods: short, ragged, flat, text, no_heads, unknown_heads."""

    def __init__(self) -> None:
        self.mood = Mood()
        self.requests: list[ranker_pb2.ScoreRequest] = []

    async def Score(self, request: ranker_pb2.ScoreRequest, context: Any) -> ranker_pb2.ScoreResponse:
        self.requests.append(request)
        await self.mood.meet("Score", context)
        click = np.linspace(0.1, 0.9, request.inputs["candidate_pin"].shape[0]).astype(np.float32)
        heads: Mapping[str, Floats] = {
            "short": {"click": click[:-1], "save": click[:-1]},
            "ragged": {"click": click, "save": click[:-1]},
            "longer": {"click": click, "save": np.append(click, click)},
            "deep": {"click": click[:, None]},
            "no_heads": {},
            "unknown_heads": {"dance": click},
        }.get(self.mood.name, {"click": click})
        outputs = {head: numpy_to_tensor(column) for head, column in heads.items()}
        if self.mood.name == "torn":
            outputs["click"].data = outputs["click"].data[:-1]
        return ranker_pb2.ScoreResponse(outputs=outputs, model=request.model, model_version="v1")


@dataclass
class Peers:
    """A root's stub, the root, and the peers it calls."""

    root: Any
    service: Service
    indexer: Indexer
    leaf: Leaf


@asynccontextmanager
async def root_with_peers(folder: Path, **fields: Any) -> AsyncIterator[Peers]:
    """A started root; both peers are well until a test says otherwise."""
    indexer, leaf = Indexer(), Leaf()  # type: ignore[abstract]
    async with AsyncExitStack() as stack:
        server = aio.server()
        rpc.add_SequenceServiceServicer_to_server(indexer, server)
        rpc.add_FeatureServiceServicer_to_server(indexer, server)
        add_ScoringServiceServicer_to_server(leaf, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        stack.push_async_callback(server.stop, 0)
        shared = {"grpc_port": 0, "admin_port": 0, "drain_s": 0.2, "state_dir": str(folder), "bundles_uri": str(folder)}
        config = Config(**{"role": "root", "indexer_target": address, "leaf_target": address, **shared, **fields})
        service = await stack.enter_async_context(build(config, bus=InMemoryBus()))
        (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
        channel = await stack.enter_async_context(aio.insecure_channel(door.address))
        yield Peers(RankingServiceStub(channel), service, indexer, leaf)
