"""The whole service over real gRPC and an in-memory Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

from chassis.bundles import BundleStore
from chassis.kafka import arrow
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos import topics
from protos.enrich.v1 import enrich_pb2 as pb
from protos.enrich.v1 import enrich_pb2_grpc
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.pins.v1 import pins_pb2
from protos.releases import encode_release
from protos.tables import batch_to_table, table_to_batch
from protos.tensors import tensor_to_numpy
from sequences.definitions.compile import write_bundle
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.testing import repository_definitions
from sequences.testing import InMemoryLookup, events_batch
from services.enrich.config import Config
from services.enrich.wiring import build

PIN_ROW = {
    "pin_id": "p-1",
    "topics": ["art"],
    "creator_id": "c",
    "advertiser_id": "",
    "price_micros": 20_000_000,
    "created_time_ms": 1_600_000_000_000,
    "content_group": "",
}


def release(bus: InMemoryBus, folder: Path, definitions: Definitions) -> None:
    released = write_bundle(definitions, BundleStore(str(folder / "bundles")))
    bus.append(topics.DEFINITIONS_RELEASED, encode_release(released), released.name.encode(), None, {})


def accept(bus: InMemoryBus, partition: int, *events: dict[str, Any]) -> None:
    bus.append(topics.EVENTS_ACCEPTED, arrow.encode(events_batch(events)), None, partition, {})


def enriched(bus: InMemoryBus) -> list[dict[str, Any]]:
    batches = [arrow.decode(record.value) for record in bus.records(topics.EVENTS_ENRICHED)]
    return [row for batch in batches for row in batch.to_pylist()]


@asynccontextmanager
async def serving(
    bus: InMemoryBus, folder: Path, pins: InMemoryLookup | None, **settings: Any
) -> AsyncIterator["enrich_pb2_grpc.EnrichServiceAsyncStub"]:
    config = Config(
        grpc_port=0,
        admin_port=0,
        bundles_uri=str(folder / "bundles"),
        state_dir=str(folder / "state"),
        drain_s=0.2,
        **settings,
    )
    service = build(config, bus=bus, clock=FakeClock(), pins=pins)
    async with service:
        port = service._doors[0].port  # type: ignore[attr-defined]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield enrich_pb2_grpc.EnrichServiceStub(channel)


async def test_events_are_enriched_on_their_partition_and_poison_is_parked(tmp_path: Path) -> None:
    bus = InMemoryBus()
    release(bus, tmp_path, repository_definitions())
    accept(bus, 5, {"event_id": "a"}, {"event_id": "bad", "attributes": b"\xff"})
    bus.append(topics.EVENTS_ACCEPTED, b"garbage", None, 5, {})
    accept(bus, 5, {"event_id": "b"})
    async with serving(bus, tmp_path, InMemoryLookup({"p-1": PIN_ROW})):
        await eventually(lambda: [row["event_id"] for row in enriched(bus)] == ["a", "b"], within_s=5)
        assert {record.partition for record in bus.records(topics.EVENTS_ENRICHED)} == {5}
        assert enriched(bus)[0]["pin_topics"] == ["art"]
        parked = topics.EVENTS_ACCEPTED.parked
        await eventually(lambda: len(bus.records(parked)) == 2, within_s=5)
        by_value = {record.value == b"garbage": record for record in bus.records(parked)}
        assert by_value[True].headers["parked-why"].startswith("Corrupt")
        assert "attributes" in by_value[False].headers["parked-why"]
        assert arrow.decode(by_value[False].value).column("event_id").to_pylist() == ["bad"]


async def test_records_wait_for_definitions_and_a_new_bundle_takes_effect_without_a_restart(tmp_path: Path) -> None:
    bus = InMemoryBus()
    accept(bus, 0, {"event_id": "a"})
    async with serving(bus, tmp_path, InMemoryLookup({})) as stub:
        assert bus.records(topics.EVENTS_ENRICHED) == []
        await asyncio.to_thread(release, bus, tmp_path, repository_definitions())
        await eventually(lambda: [row["event_id"] for row in enriched(bus)] == ["a"], within_s=5)
        hashed = Enrichment(
            name="hashed",
            owner="t",
            executor="hash_ids",
            reads=("pin_id",),
            writes=(Column(name="pin_hash", type="int64"),),
        )
        newer = assemble([hashed, *repository_definitions().events.values()])
        await asyncio.to_thread(release, bus, tmp_path, newer)

        async def is_swapped() -> bool:
            answer = await stub.PreviewEvent(pb.PreviewEventRequest(event=ingest_pb2.Event(event_id="x")))
            return bool(answer.definitions_version == newer.version)

        await eventually(is_swapped, within_s=5)
        accept(bus, 0, {"event_id": "b"})
        await eventually(lambda: len(enriched(bus)) == 2, within_s=5)
        assert enriched(bus)[1]["pin_hash"] is not None
        assert enriched(bus)[1]["definitions_version"] == newer.version


async def test_pins_are_enriched_and_tombstones_passed_on(tmp_path: Path) -> None:
    bus = InMemoryBus()
    release(bus, tmp_path, repository_definitions())
    for pin_id in ("a", "b"):
        value = pins_pb2.Pin(pin_id=pin_id, title="Red chair", topics=["art"]).SerializeToString()
        bus.append(topics.PINS_PUBLISHED, value, pin_id.encode(), None, {})
    bus.append(topics.PINS_PUBLISHED, None, b"b", None, {})
    async with serving(bus, tmp_path, InMemoryLookup({})):
        await eventually(lambda: len(bus.records(topics.PINS_ENRICHED)) == 3, within_s=5)
        by_pin = {record.key: record.value for record in bus.records(topics.PINS_ENRICHED)}
        assert by_pin[b"b"] is None
        pin = pins_pb2.EnrichedPin.FromString(by_pin[b"a"] or b"")
        assert pin.pin.title == "Red chair"
        assert np.linalg.norm(tensor_to_numpy(pin.content_vector)) > 0.999
        assert pin.definitions_version == repository_definitions().version


async def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    bus = InMemoryBus()
    release(bus, tmp_path, repository_definitions())
    async with serving(bus, tmp_path, InMemoryLookup({"p-1": PIN_ROW})) as stub:
        event = ingest_pb2.Event(event_id="x", user_id="u", event_type="save", pin_id="p-1", event_time_ms=1)
        answer = await stub.PreviewEvent(pb.PreviewEventRequest(event=event))
        assert answer.is_kept
        assert table_to_batch(answer.row).to_pylist()[0]["pin_price_band"] == 2
        assert "lookup_pin" in [run.executor for run in answer.runs]
        assert bus.records(topics.EVENTS_ENRICHED) == []


class Features(indexer_pb2_grpc.FeatureServiceServicer):
    """Indexer's door with one known pin."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []

    async def BatchGetPins(self, request: indexer_pb2.BatchGetPinsRequest, context: Any) -> Any:
        self.requests.append(list(request.pin_ids))
        rows = [PIN_ROW] if "p-1" in request.pin_ids else []
        schema = pa.RecordBatch.from_pylist([PIN_ROW]).schema
        return indexer_pb2.BatchGetPinsResponse(pins=batch_to_table(pa.RecordBatch.from_pylist(rows, schema=schema)))


async def test_pins_are_looked_up_in_one_call_and_null_while_indexer_is_away(tmp_path: Path) -> None:
    bus = InMemoryBus()
    release(bus, tmp_path, repository_definitions())
    features, server = Features(), grpc.aio.server()  # type: ignore[abstract]
    indexer_pb2_grpc.add_FeatureServiceServicer_to_server(features, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with serving(bus, tmp_path, None, indexer_target=f"127.0.0.1:{port}"):
        accept(bus, 0, {"event_id": "a"}, {"event_id": "b", "pin_id": "p-2"}, {"event_id": "c"})
        await eventually(lambda: len(enriched(bus)) == 3, within_s=5)
        assert [row["pin_price_band"] for row in enriched(bus)] == [2, None, 2]
        assert features.requests == [["p-1", "p-2"]]
        await server.stop(0)
        accept(bus, 0, {"event_id": "d", "pin_id": "p-3"}, {"event_id": "e"})
        await eventually(lambda: len(enriched(bus)) == 5, within_s=5)
        assert [row["pin_price_band"] for row in enriched(bus)[3:]] == [None, 2]
