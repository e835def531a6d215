"""indexer, cg and ranker as small gRPC servers whose behaviour a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

from protos.candidate_columns import CandidateColumns, encode_columns
from protos.cg.v1 import cg_pb2, cg_pb2_grpc
from protos.common.v1 import common_pb2 as common
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ranker.v1 import ranker_pb2, ranker_pb2_grpc
from protos.tables import batch_to_table
from protos.tensors import numpy_to_tensor

TOPICS = ("gardens", "kitchens", "bikes", "maps")
DIMENSIONS = 16


@dataclass
class World:
    """What the peers know; a test changes it while they run."""

    num_pins: int = 300
    seen: list[str] = field(default_factory=list)  # newest first, as indexer names them
    blocked: list[str] = field(default_factory=list)
    content_groups: dict[str, str] = field(default_factory=dict)
    events: list[ranker_pb2.InfluencingEvent] = field(default_factory=list)
    generator: str = "contextual"
    bad_scores: dict[str, float] = field(default_factory=dict)
    speaks_columns: bool = True  # False is a peer of the version before
    hands_history_out: bool = True  # likewise

    @property
    def pin_ids(self) -> list[str]:
        return [f"pin-{index}" for index in range(self.num_pins)]


@dataclass
class Peer:
    """One server. `mood` is ok, refuse (UNAVAILABLE), hang, empty or internal."""

    mood: str = "ok"
    calls: list[Any] = field(default_factory=list)
    port: int = 0

    async def meet(self, request: Any, context: Any) -> None:
        self.calls.append(request)
        if self.mood == "hang":
            await asyncio.sleep(30)
        if self.mood == "refuse":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "refused by the test")
        if self.mood == "internal":
            await context.abort(grpc.StatusCode.INTERNAL, "broken by the test")


class FakeIndexer(indexer_pb2_grpc.FeatureServiceServicer):
    def __init__(self, peer: Peer, world: World) -> None:
        self._peer, self._world = peer, world

    async def GetUser(self, request: Any, context: Any) -> indexer_pb2.GetUserResponse:
        await self._peer.meet(request, context)
        world = self._world
        return indexer_pb2.GetUserResponse(
            seen_pin_ids=world.seen,
            blocked_pin_ids=world.blocked,
            profile={"locale": "en-US"},
            history=common.History(sequence=request.history.sequence, sequence_version=7)
            if request.HasField("history") and world.hands_history_out
            else None,
        )

    async def BatchGetPins(self, request: Any, context: Any) -> indexer_pb2.BatchGetPinsResponse:
        await self._peer.meet(request, context)
        asked = [] if self._peer.mood == "empty" else list(request.pin_ids)
        return indexer_pb2.BatchGetPinsResponse(pins=batch_to_table(pin_rows(asked)))


class FakeCg(cg_pb2_grpc.RetrievalServiceServicer):
    def __init__(self, peer: Peer, world: World) -> None:
        self._peer, self._world = peer, world

    async def Retrieve(self, request: Any, context: Any) -> cg_pb2.RetrieveResponse:
        await self._peer.meet(request, context)
        world, excluded = self._world, set(request.exclude_pin_ids)
        pins = [] if self._peer.mood == "empty" else [pin for pin in world.pin_ids if pin not in excluded]
        generator = "popular" if list(request.generators) == ["popular"] else world.generator
        if request.wants_columns and world.speaks_columns:
            return self._columns(pins[: request.num_candidates], generator)
        return cg_pb2.RetrieveResponse(
            candidates=[
                cg_pb2.Candidate(
                    pin_id=pin,
                    generator=generator,
                    score=1.0 / (1 + rank),
                    rank=rank,
                    score_by_generator={generator: 1.0, "popular": 1.0},
                    content_group=world.content_groups.get(pin, ""),
                )
                for rank, pin in enumerate(pins[: request.num_candidates])
            ],
            versions=common.Versions(by_artifact={"model:two_tower": "t-1"}),
        )

    def _columns(self, pins: Sequence[str], generator: str) -> cg_pb2.RetrieveResponse:
        names, num = list(dict.fromkeys([generator, "popular"])), len(pins)
        columns = CandidateColumns(
            pins,
            names,
            np.zeros(num, dtype=np.int32),
            1.0 / np.arange(1, num + 1),
            np.arange(num, dtype=np.int32),
            np.ones((num, len(names))),
            [self._world.content_groups.get(pin, "") for pin in pins],
        )
        versions = common.Versions(by_artifact={"model:two_tower": "t-1"})
        return cg_pb2.RetrieveResponse(columns=encode_columns(columns), versions=versions)


class FakeRanker(ranker_pb2_grpc.RankingServiceServicer):
    def __init__(self, peer: Peer, world: World) -> None:
        self._peer, self._world = peer, world

    async def Rank(self, request: Any, context: Any) -> ranker_pb2.RankResponse:
        await self._peer.meet(request, context)
        pins = [] if self._peer.mood == "empty" else [each.pin_id for each in request.candidates]
        pins.sort(key=lambda pin: -score_of(pin))
        if request.HasField("columns") and self._world.speaks_columns:
            return self._columns([] if self._peer.mood == "empty" else list(request.columns.pin_ids))
        return ranker_pb2.RankResponse(
            pins=[
                ranker_pb2.RankedPin(
                    pin_id=pin,
                    score=self._world.bad_scores.get(pin, score_of(pin)),
                    score_by_head={"click": 0.1, "save": 0.05},
                )
                for pin in pins
            ],
            versions=common.Versions(by_artifact={"model:ranker": "r-1"}),
            sequence_version=7,
            influencing_events=self._world.events,
        )

    def _columns(self, pins: Sequence[str]) -> ranker_pb2.RankResponse:
        rows = sorted(range(len(pins)), key=lambda row: -score_of(pins[row]))
        scores = [self._world.bad_scores.get(pins[row], score_of(pins[row])) for row in rows]
        return ranker_pb2.RankResponse(
            columns=ranker_pb2.RankedColumns(
                candidate=numpy_to_tensor(np.array(rows, dtype=np.int32)),
                score=numpy_to_tensor(np.array(scores, dtype=np.float64)),
                heads=["click", "save"],
                score_by_head=numpy_to_tensor(np.tile([0.1, 0.05], (len(rows), 1))),
            ),
            versions=common.Versions(by_artifact={"model:ranker": "r-1"}),
            sequence_version=7,
            influencing_events=self._world.events,
        )


def score_of(pin_id: str) -> float:
    """Not in the order of retrieval, the same in every run, no two equal."""
    return (int(pin_id.rpartition("-")[2]) * 7919 % 1009) / 1009


def pin_rows(pin_ids: Sequence[str]) -> pa.RecordBatch:
    """Columns as indexer answers them."""
    numbers = [int(pin.rpartition("-")[2]) for pin in pin_ids]
    return pa.RecordBatch.from_pydict(
        {
            "pin_id": pa.array(pin_ids, pa.string()),
            "topics": pa.array([[TOPICS[n % 4], "other"] for n in numbers], pa.list_(pa.string())),
            "creator_id": pa.array([f"creator-{n % 17}" for n in numbers], pa.string()),
            "advertiser_id": pa.array([f"shop-{n % 3}" if n % 10 == 0 else None for n in numbers], pa.string()),
            "quality_score": pa.array([0.9] * len(numbers), pa.float32()),
            "content_group": pa.array([""] * len(numbers), pa.string()),
            "safety_labels": pa.array([["tobacco"] if n % 25 == 0 else [] for n in numbers], pa.list_(pa.string())),
            "content_vector": pa.array([list(vector_of(n)) for n in numbers], pa.list_(pa.float32())),
        }
    )


def vector_of(number: int) -> np.ndarray:
    """Pins of one topic point the same way, more or less."""
    rng = np.random.default_rng(number)
    vector = 0.15 * rng.normal(size=DIMENSIONS)
    vector[number % 4] += 1.0
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Peers:
    """All three, each on a port of its own."""

    world: World = field(default_factory=World)
    indexer: Peer = field(default_factory=Peer)
    cg: Peer = field(default_factory=Peer)
    ranker: Peer = field(default_factory=Peer)


@asynccontextmanager
async def running_peers(world: World) -> AsyncIterator[Peers]:
    """Servers on free ports, gone afterwards."""
    peers = Peers(world)
    servers = []
    doors: tuple[tuple[Peer, Any, Any], ...] = (
        (peers.indexer, indexer_pb2_grpc.add_FeatureServiceServicer_to_server, FakeIndexer(peers.indexer, world)),
        (peers.cg, cg_pb2_grpc.add_RetrievalServiceServicer_to_server, FakeCg(peers.cg, world)),
        (peers.ranker, ranker_pb2_grpc.add_RankingServiceServicer_to_server, FakeRanker(peers.ranker, world)),
    )
    for peer, add, servicer in doors:
        server = grpc.aio.server()
        add(servicer, server)
        peer.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
    try:
        yield peers
    finally:
        await asyncio.gather(*(server.stop(0) for server in servers))
