"""The files that served features are compared with: the newest rankings, and what training knows of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chassis.errors import NotFound
from services.indexer.domain.lake_rows import FEATURE_COLUMNS, Table, dated
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.offline.served_features import HISTORIES, PINS, RANKINGS, Order, write_files
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState
from services.indexer.tests.samples import NOW_MS, envelope, event


def ranking(number: int, user_id: str = "user-1", pins: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    return {
        "request_id": f"r{number}",
        "user_id": user_id,
        "served_time_ms": NOW_MS + number,
        "request_time_ms": NOW_MS,
        "pin_ids": list(pins),
        "inputs": b"as it came",
    }


@pytest.fixture
def lake(tmp_path: Path) -> IcebergLake:
    return IcebergLake(str(tmp_path / "lake"))


@pytest.fixture
async def pins() -> InMemoryPinStore:
    store = InMemoryPinStore(InMemoryState(CLOCK))
    rows = [{"pin_id": "a", "content_vector": [1.0, 2.0], "price_micros": 5}, {"pin_id": "z"}, {"pin_id": "not asked"}]
    await store.put(PinRows(pa.RecordBatch.from_pylist(rows, schema=PIN_SCHEMA), [1, 1, 1], [7, 8, 9]))
    return store


def fill(lake: IcebergLake, rankings: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    tables = {
        Table.FEATURES: pa.Table.from_pylist(rankings, schema=FEATURE_COLUMNS),
        Table.EVENTS: pa.Table.from_batches([envelope(events)]),
    }
    for table, rows in tables.items():
        lake.coverage(table)
        lake.append(table, dated(rows, table), {})


async def test_files_hold_the_newest_rankings_and_what_training_knows_of_them(
    lake: IcebergLake, pins: InMemoryPinStore, tmp_path: Path
) -> None:
    events = [
        event(1, pin_id="z", enriched_time_ms=NOW_MS + 3),
        event(2, pin_id="z", event_type="click"),
        event(3, pin_id="z", user_id="user-9"),
    ]
    fill(lake, [ranking(1, "user-9"), ranking(2), ranking(3), ranking(500)], events)
    steps: list[dict[str, Any]] = []
    order = Order(NOW_MS, NOW_MS + 100, last=2)
    counts = await write_files(lake, pins, order, tmp_path / "out", steps.append)
    assert counts == {"num_rankings": 2, "num_histories": 1, "num_pins": 2}
    assert [step["progress"]["done"] for step in steps] == [2, 3, 4]
    rankings, histories, known = (
        pq.read_table(tmp_path / "out" / name).to_pylist() for name in (RANKINGS, HISTORIES, PINS)
    )
    assert [(row["request_id"], row["inputs"]) for row in rankings] == [("r3", b"as it came"), ("r2", b"as it came")]
    assert [(row["user_id"], row["event_ids"]) for row in histories] == [("user-1", ["event-1", "event-2"])]
    assert histories[0]["enriched_times_ms"] == [NOW_MS + 3, NOW_MS]
    assert [(row["pin_id"], row["price_micros"], row["enriched_time_ms"]) for row in known] == [
        ("a", 5, 7),
        ("z", None, 8),
    ]


async def test_without_any_logged_ranking_the_setting_is_named(
    lake: IcebergLake, pins: InMemoryPinStore, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="RANKER_FEATURE_LOG_SHARE"):
        await write_files(lake, pins, Order(0, NOW_MS, 10), tmp_path, lambda _: None)
    fill(lake, [ranking(1)], [])
    with pytest.raises(NotFound, match="RANKER_FEATURE_LOG_SHARE"):
        await write_files(lake, pins, Order(0, NOW_MS, 10), tmp_path, lambda _: None)
    counts = await write_files(lake, pins, Order(0, NOW_MS + 9, 10), tmp_path, lambda _: None)
    assert counts == {"num_rankings": 1, "num_histories": 0, "num_pins": 1}
