"""A whole blender on a free port with fake peers behind real gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.bundles import BundleStore
from chassis.grpc.client import ChannelPool
from chassis.lifecycle import Service
from chassis.testing import InMemoryBus, eventually
from protos.blender.v1 import blender_pb2 as pb
from protos.blender.v1 import blender_pb2_grpc as rpc
from protos.releases import encode_release
from protos.topics import DEFINITIONS_RELEASED, FEEDS_SERVED
from sequences.definitions.compile import write_bundle
from sequences.definitions.testing import repository_definitions
from services.blender.app.rehearsal import USER
from services.blender.config import Config
from services.blender.ports import SessionStore
from services.blender.tests.fake_peers import Peers, World, running_peers
from services.blender.tests.in_memory_stores import InMemoryExplanations, InMemorySessions
from services.blender.wiring import build

TOKEN_KEY = "a key of the tests"
TIMEOUT_MS = 1_000  # a busy machine must not turn a test of something else into one of deadlines


@dataclass
class RunningBlender:
    """The service, its surroundings and a client."""

    service: Service
    peers: Peers
    bus: InMemoryBus
    sessions: InMemorySessions
    explanations: InMemoryExplanations
    pool: ChannelPool

    async def feed(
        self, user_id: str = "ann", surface: str = "home", page_size: int = 25, timeout_s: float = 2.0, **fields: Any
    ) -> pb.GetFeedResponse:
        request = pb.GetFeedRequest(user_id=user_id, surface=surface, page_size=page_size, **fields)
        response: pb.GetFeedResponse = await self.pool.call(
            rpc.FeedServiceStub, "GetFeed", request, timeout_s=timeout_s
        )
        return response

    async def explain(self, request_id: str, *why_not: str) -> pb.ExplainFeedResponse:
        request = pb.ExplainFeedRequest(request_id=request_id, why_not_pin_ids=why_not)
        response: pb.ExplainFeedResponse = await self.pool.call(
            rpc.FeedServiceStub, "ExplainFeed", request, timeout_s=2.0
        )
        return response

    async def blend(self, request: pb.BlendRequest) -> pb.BlendResponse:
        response: pb.BlendResponse = await self.pool.call(rpc.BlendServiceStub, "Blend", request, timeout_s=5.0)
        return response

    async def served(self, num: int) -> list[pb.ServedFeed]:
        """The records of the topic once there are `num`."""
        await eventually(lambda: len(self.bus.records(FEEDS_SERVED)) >= num)
        return [pb.ServedFeed.FromString(each.value or b"") for each in self.bus.records(FEEDS_SERVED)]


def announce_definitions(bus: InMemoryBus, directory: Path) -> None:
    """The repository's own definitions, released."""
    release = write_bundle(repository_definitions(), BundleStore(str(directory)))
    bus.append(DEFINITIONS_RELEASED, encode_release(release), release.name.encode(), None, {})


@asynccontextmanager
async def running_blender(
    directory: Path,
    world: World | None = None,
    *,
    sessions_in: SessionStore | None = None,
    bus: InMemoryBus | None = None,
    cg_mood: str = "ok",
    **settings: Any,
) -> AsyncIterator[RunningBlender]:
    """Started with definitions (of its own bus, or what is on the one given) and a warm connection to each peer."""
    sessions, explanations = InMemorySessions(), InMemoryExplanations()
    if bus is None:
        bus = InMemoryBus()
        announce_definitions(bus, directory / "bundles")
    async with running_peers(world or World()) as peers:
        peers.cg.mood = cg_mood
        defaults = {
            "indexer_target": f"127.0.0.1:{peers.indexer.port}",
            "cg_target": f"127.0.0.1:{peers.cg.port}",
            "ranker_target": f"127.0.0.1:{peers.ranker.port}",
        }
        config = Config(
            **{
                "grpc_port": 0,
                "admin_port": 0,
                "bundles_uri": str(directory / "bundles"),
                "page_token_key": TOKEN_KEY,
                "state_dir": str(directory / "state"),
                "get_feed_timeout_ms": TIMEOUT_MS,
                "session_timeout_ms": TIMEOUT_MS,
                **defaults,
                **settings,
            }
        )
        service = build(config, bus=bus, sessions=sessions_in or sessions, explanations=explanations)
        async with service:
            forget_rehearsal(peers)
            pool = ChannelPool(door_address(service))
            try:
                yield RunningBlender(service, peers, bus, sessions, explanations, pool)
            finally:
                await pool.stop(None)  # type: ignore[arg-type]


def forget_rehearsal(peers: Peers) -> None:
    """Tests count the calls of feeds that somebody asked for."""
    for peer in (peers.indexer, peers.cg, peers.ranker):
        peer.calls[:] = [call for call in peer.calls if getattr(call, "user_id", "") != USER]


def door_address(service: Service) -> str:
    """Where the gRPC door listens."""
    return str(service._doors[0].address)  # type: ignore[attr-defined]


def levels_of(response: pb.GetFeedResponse) -> dict[str, str]:
    """component -> level."""
    return {each.component: each.level for each in response.degradations}
