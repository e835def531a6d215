"""What every PinStore promises; run against the fake and against the real one."""

from typing import Any

import pyarrow as pa

from chassis.kafka.record import Record
from protos import topics
from protos.pins.v1 import pins_pb2
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.inbound.pins import pin_changes
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import Stores

ALL = PIN_SCHEMA.names


def pins(*rows: dict[str, Any], published_ms: int = 1, enriched_ms: int = 1) -> PinRows:
    count = len(rows)
    return PinRows(
        pa.RecordBatch.from_pylist(list(rows), schema=PIN_SCHEMA), [published_ms] * count, [enriched_ms] * count
    )


async def test_known_pins_come_in_the_order_asked(stores: Stores) -> None:
    await stores.pins.put(pins({"pin_id": "a", "topics": ["x"], "content_vector": [1.0, 0.5]}, {"pin_id": "b"}))
    rows = await stores.pins.read(["b", "nowhere", "a", "b"], ["pin_id", "topics", "content_vector"])
    assert rows.to_pylist() == [
        {"pin_id": "b", "topics": None, "content_vector": None},
        {"pin_id": "a", "topics": ["x"], "content_vector": [1.0, 0.5]},
        {"pin_id": "b", "topics": None, "content_vector": None},
    ]


async def test_vector_version_and_codes_come_from_the_record(stores: Stores) -> None:
    pin = pins_pb2.EnrichedPin(pin=pins_pb2.Pin(pin_id="a"), content_vector_version="v1", semantic_id=[5, 9])
    record = Record(topics.PINS_ENRICHED.name, 0, 1, b"a", pin.SerializeToString(), {}, 0)
    await stores.pins.put(pin_changes([record]).put)
    [row] = (await stores.pins.read(["a"], ["pin_id", "content_vector_version", "semantic_id"])).to_pylist()
    assert row == {"pin_id": "a", "content_vector_version": "v1", "semantic_id": [5, 9]}


async def test_no_known_pin_gives_an_empty_table_with_schema(stores: Stores) -> None:
    for asked in ([], ["nowhere"]):
        rows = await stores.pins.read(asked, ALL)
        assert (rows.num_rows, rows.schema.names) == (0, ALL)


async def test_an_older_version_never_replaces_a_newer_one(stores: Stores) -> None:
    for published_ms, enriched_ms, title in [(300, 5, "new"), (200, 9, "old"), (300, 4, "late"), (300, 6, "again")]:
        await stores.pins.put(pins({"pin_id": "a", "title": title}, published_ms=published_ms, enriched_ms=enriched_ms))
    assert (await stores.pins.read(["a"], ["title"])).to_pylist() == [{"title": "again"}]


async def test_a_deleted_pin_is_gone_and_may_come_back(stores: Stores) -> None:
    await stores.pins.put(pins({"pin_id": "a"}, published_ms=9))
    await stores.pins.delete(["a", "nowhere"])
    assert (await stores.pins.read(["a"], ["pin_id"])).num_rows == 0
    await stores.pins.put(pins({"pin_id": "a"}, published_ms=10))
    assert [pin async for pin in stores.pins.pin_ids()] == ["a"]


async def test_when_a_pin_was_enriched_is_known(stores: Stores) -> None:
    await stores.pins.put(pins({"pin_id": "a"}, published_ms=3, enriched_ms=7))
    assert await stores.pins.enriched_times_ms(["nowhere", "a"]) == {"a": 7}
    assert await stores.pins.enriched_times_ms([]) == {}
