"""Started roots and leaves on fakes, with stubs of their doors."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio

from chassis.bundles import BundleStore, Release
from chassis.grpc.server import GrpcDoor
from chassis.testing import InMemoryBus
from modeling.release import announce, write_bundle
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceStub, ScoringServiceStub
from services.ranker.config import Config
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.ports import Scorer
from services.ranker.tests.world import NOW_MS, FakePins, FakeSequences, pin_id
from services.ranker.wiring import build


class World:
    """What roots and leaves of one test share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus = InMemoryBus()
        self.store = BundleStore(str(folder / "bundles"))
        self.sequences, self.pins = FakeSequences(), FakePins()

    def config(self, role: str, **fields: Any) -> Config:
        shared = {"grpc_port": 0, "admin_port": 0, "drain_s": 0.2, "bundles_uri": str(self.folder / "bundles")}
        return Config(**{"role": role, "state_dir": str(self.folder / role), **shared, **fields})

    async def release(self, fitted: FittedRanker, name: str = "ranker", **changed: bytes) -> Release:
        """Write and announce the bundle, with some files replaced (`.` in a name written as `__`)."""
        files = {**fitted.files, **{file.replace("__", "."): content for file, content in changed.items()}}
        return await self.release_files(files, name)

    async def release_files(self, files: Mapping[str, bytes], name: str = "ranker") -> Release:
        """Write and announce just these files."""
        release = write_bundle(self.store, name, files, {}, "test")
        await announce(self.bus, [release])
        return release

    @asynccontextmanager
    async def stub_of(self, address: str) -> AsyncIterator[Any]:
        """A stub of the leaf there."""
        async with aio.insecure_channel(address) as channel:
            yield ScoringServiceStub(channel)

    @asynccontextmanager
    async def address_of(self, role: str) -> AsyncIterator[str]:
        """Where a root or a leaf listens."""
        service = build(self.config(role), bus=self.bus, sequences=self.sequences, pins=self.pins)
        async with service:
            (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
            yield door.address

    @asynccontextmanager
    async def leaf(self) -> AsyncIterator[tuple[Any, str]]:
        """A leaf's stub and address."""
        async with build(self.config("leaf"), bus=self.bus) as service:
            (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
            async with aio.insecure_channel(door.address) as channel:
                yield ScoringServiceStub(channel), door.address

    @asynccontextmanager
    async def root(
        self, scorer: Scorer | None = None, leaf_target: str = "127.0.0.1:1", **fields: Any
    ) -> AsyncIterator[Any]:
        """A root's stub; without a `scorer` it calls the leaf at `leaf_target`."""
        config = self.config("root", leaf_target=leaf_target, **fields)
        service = build(config, bus=self.bus, sequences=self.sequences, pins=self.pins, scorer=scorer)
        async with service:
            (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
            async with aio.insecure_channel(door.address) as channel:
                yield RankingServiceStub(channel)


async def rank(stub: Any, numbers: list[int], **fields: Any) -> pb.RankResponse:
    """Rank pins of the world, given in retrieval order."""
    request = pb.RankRequest(**{"user_id": "ann", "surface": "home", "request_time_ms": NOW_MS, **fields})
    for place, number in enumerate(numbers):
        request.candidates.add(pin_id=pin_id(number), retrieval_rank=place, score_by_generator={"popular": 1.0})
    response: pb.RankResponse = await stub.Rank(request, timeout=5)
    return response
