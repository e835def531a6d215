"""A started service on fakes, with a stub of its door."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio

from chassis.bundles import BundleStore
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.grpc.server import GrpcDoor
from chassis.lifecycle import Service
from chassis.testing import InMemoryBus
from modeling.release import announce, write_bundle
from protos.cg.v1 import cg_pb2 as pb
from protos.cg.v1.cg_pb2_grpc import RetrievalServiceStub
from protos.pins.v1.pins_pb2 import EnrichedPin, Pin
from protos.tensors import numpy_to_tensor
from protos.topics import PINS_ENRICHED
from services.cg.config import Config
from services.cg.domain.pin import IndexedPin
from services.cg.domain.retrieval import HistoryEvent, StoredVector
from services.cg.offline.fit_generators import Fitted
from services.cg.tests.world import NOW_MS, NUM_PINS, pin
from services.cg.wiring import build


class FakeIndexer:
    """Histories and stored vectors in memory; `is_away` makes every call fail."""

    def __init__(self) -> None:
        self.histories: dict[str, list[str]] = {}
        self.events: dict[str, list[HistoryEvent]] = {}  # instead of saves
        self.vectors: dict[tuple[str, str], StoredVector] = {}  # by user and encoder
        self.is_away = False
        self.is_sequence_away = False
        self.num_calls = 0

    async def recent(self, user_id: str, deadline: Deadline) -> tuple[HistoryEvent, ...]:
        self.num_calls += 1
        if self.is_away or self.is_sequence_away:
            raise Unavailable("indexer is away")
        if user_id in self.events:
            return tuple(self.events[user_id])
        return tuple(HistoryEvent(pin_id, "save", NOW_MS) for pin_id in self.histories.get(user_id, []))

    async def stored(self, user_id: str, encoders: Sequence[str], deadline: Deadline) -> Mapping[str, StoredVector]:
        if self.is_away:
            raise Unavailable("indexer is away")
        return {name: self.vectors[user_id, name] for name in encoders if (user_id, name) in self.vectors}


class Running:
    """The service's surroundings and its stub."""

    def __init__(self, bus: InMemoryBus, store: BundleStore, indexer: FakeIndexer, channel: aio.Channel) -> None:
        self.bus, self.store, self.indexer = bus, store, indexer
        self.service: Service
        self.stub: Any = RetrievalServiceStub(channel)

    async def retrieve(self, **fields: Any) -> pb.RetrieveResponse:
        request = pb.RetrieveRequest(**{"user_id": "ann", "surface": "home", "num_candidates": 20, **fields})
        response: pb.RetrieveResponse = await self.stub.Retrieve(request, timeout=5)
        return response

    async def release(self, fitted: Fitted) -> dict[str, str]:
        """Write and announce every bundle; version by name."""
        releases = [write_bundle(self.store, name, files, {}, "test") for name, files in fitted.files_by_name.items()]
        await announce(self.bus, releases)
        return {release.name: release.version for release in releases}

    def publish(self, item: IndexedPin) -> None:
        self.bus.append(PINS_ENRICHED, encode(item), item.pin_id.encode(), None, {})

    def remove(self, pin_id: str) -> None:
        self.bus.append(PINS_ENRICHED, None, pin_id.encode(), None, {})


def encode(item: IndexedPin) -> bytes:
    """The pin as enrich sends it."""
    message = EnrichedPin(
        pin=Pin(
            pin_id=item.pin_id,
            topics=item.topics,
            created_time_ms=item.created_time_ms,
            locale=item.locale,
            content_group=item.content_group,
            advertiser_id=item.advertiser_id,
            price_micros=item.price_micros,
            safety_labels=item.safety_labels,
        ),
        quality_score=item.quality_score,
    )
    if item.content_vector is not None:
        message.content_vector.CopyFrom(numpy_to_tensor(item.content_vector))
    return message.SerializeToString()


@asynccontextmanager
async def running_cg(
    folder: Path, *, num_pins: int = NUM_PINS, bus: InMemoryBus | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """A service that has read `num_pins` pins."""
    bus, indexer = bus or InMemoryBus(), FakeIndexer()
    for number in range(num_pins):
        item = pin(number)
        bus.append(PINS_ENRICHED, encode(item), item.pin_id.encode(), None, {})
    config = Config(
        grpc_port=0,
        admin_port=0,
        bundles_uri=str(folder / "bundles"),
        state_dir=str(folder / "state"),
        drain_s=0.2,
        **settings,
    )
    service = build(config, bus=bus, histories=indexer, user_vectors=indexer)
    async with service:
        (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
        async with aio.insecure_channel(door.address) as channel:
            running = Running(bus, BundleStore(config.bundles_uri), indexer, channel)
            running.service = service
            yield running
