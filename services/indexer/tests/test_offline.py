"""The offline jobs: data sets, digests and SQL over the lake."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chassis.bundles import BundleStore
from chassis.errors import Corrupt, NotFound
from sequences.dataset import Dataset, Position
from sequences.sequence_value import unpacked
from sequences.training_reader import ReadOptions
from services.indexer.domain.digest import digest_of
from services.indexer.domain.lake_rows import FEED_COLUMNS, Table, dated
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.routing import Routing
from services.indexer.offline.digest import digest
from services.indexer.offline.export_dataset import export
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import CLOCK, Stores
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

HOUR_MS = 3_600_000


def served(
    request_id: str, pin_id: str, position: int, time_ms: int = NOW_MS, user_id: str = "user-1"
) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "user_id": user_id,
        "surface": "home",
        "served_time_ms": time_ms,
        "pin_id": pin_id,
        "position": position,
        "score": 0.5,
    }


def fill(lake: IcebergLake, events: list[dict[str, Any]], feeds: list[dict[str, Any]]) -> None:
    for table, rows in [
        (Table.EVENTS, pa.Table.from_batches([envelope(events)])),
        (Table.FEEDS, pa.Table.from_pylist(feeds, schema=FEED_COLUMNS)),
    ]:
        lake.coverage(table)
        lake.append(table, dated(rows, table), {})


@pytest.fixture
async def dataset(tmp_path: Path) -> Dataset:
    lake, pins = IcebergLake(str(tmp_path / "lake")), InMemoryPinStore(InMemoryState(CLOCK))
    after: dict[str, Any] = {"event_time_ms": NOW_MS + 1000, "pin_id": "a"}
    events = [
        event(1, **after),
        event(2, event_type="click", **after, request_id="r2"),
        event(3, event_type="hide", pin_id="b", event_time_ms=NOW_MS + 25 * HOUR_MS),
        event(4, event_type="share", pin_id="b", event_time_ms=NOW_MS - 1),
        event(5, event_type="search", pin_id=""),
        event(6, user_id="user-0", event_type="long_view", dwell_s=2.5),
        event(7, event_type="long_view", pin_id="z", dwell_s=1.0),
        event(7, event_type="long_view", pin_id="z", dwell_s=9.0, enriched_time_ms=NOW_MS + 5),
    ]
    feeds = [
        served("r1", "a", 0),
        served("r1", "b", 1),
        served("r1", "a", 0),
        served("r2", "a", 0, NOW_MS + 10),
        served("r9", "a", 0, user_id="user-9"),
    ]
    fill(lake, events, feeds)
    rows = pa.RecordBatch.from_pylist(
        [{"pin_id": "b", "content_vector": [1.0, 2.0], "topics": ["art"]}, {"pin_id": "a"}], schema=PIN_SCHEMA
    )
    await pins.put(PinRows(rows, [1, 1], [1, 1]))
    store = BundleStore(str(tmp_path / "bundles"))
    first = await export("test", lake, pins, store, 24.0, definitions())
    assert (await export("test", lake, pins, store, 24.0, definitions())).version == first.version
    return Dataset.open(first.path)


async def test_histories_hold_each_event_once_in_order(dataset: Dataset) -> None:
    rows = dataset.histories().to_pylist()
    assert [row["user_id"] for row in rows] == ["user-0", "user-1"]
    assert rows[1]["event_ids"] == ["event-7", "event-4", "event-1", "event-2", "event-3"]
    assert rows[1]["dwell_s"] == [9.0, None, None, None, None]


async def test_labels_follow_request_pin_and_window(dataset: Dataset) -> None:
    rows = {(row["request_id"], row["pin_id"]): row for row in dataset.served().to_pylist()}
    assert len(rows) == dataset.served().num_rows == 4
    assert (rows["r1", "a"]["saved"], rows["r1", "a"]["clicked"]) == (True, False)
    assert (rows["r2", "a"]["saved"], rows["r2", "a"]["clicked"]) == (True, True)
    assert not any(rows["r1", "b"][label] for label in ("hidden", "shared", "saved"))
    assert not rows["r9", "a"]["saved"]


async def test_pins_come_from_the_online_store(dataset: Dataset) -> None:
    assert dataset.pin_ids == ["a", "b"]
    assert dataset.content_vectors.tolist() == [[0.0, 0.0], [1.0, 2.0]]


async def test_training_rows_have_the_sequence_as_of_each_request_once(dataset: Dataset) -> None:
    [batch] = dataset.training_rows(ReadOptions(10))
    assert batch.request_features.column("request_id").to_pylist() == ["r1", "r2", "r9"]
    assert batch.row_to_request.tolist() == [0, 0, 1, 2]
    events, offsets = unpacked(batch.request_features.column("sequence"))
    ids = events.column("event_id").to_pylist()
    assert [ids[offsets[r] : offsets[r + 1]] for r in range(3)] == [["event-7", "event-4"]] * 2 + [[]]
    assert batch.candidate_features.column("saved").to_pylist() == [True, False, True, False]


async def test_requests_are_handed_on_deduplicated_and_resume(dataset: Dataset) -> None:
    batches = list(dataset.requests(2))
    first, position = batches[0]
    assert first.request_features.column("request_id").to_pylist() == ["r1", "r9"]
    assert first.candidate_features.column("pin_id").to_pylist() == ["a", "b", "a"]
    assert first.row_to_request.tolist() == [0, 0, 1]
    assert "user_id" not in first.candidate_features.schema.names
    [(rest, _)] = dataset.requests(2, start=position)
    assert rest.request_features.equals(batches[1][0].request_features)


async def test_shuffling_is_seeded_and_loses_no_request(dataset: Dataset) -> None:
    def order(epoch: int) -> list[str]:
        batches = dataset.requests(1, seed=1, start=Position(epoch))
        return [batch.request_features.column("request_id")[0].as_py() for batch, _ in batches]

    assert order(0) == order(0)
    assert sorted(order(0)) == sorted(order(3)) == ["r1", "r2", "r9"]
    assert len({tuple(order(epoch)) for epoch in range(8)}) > 1


async def test_an_empty_lake_gives_an_empty_data_set(tmp_path: Path) -> None:
    pins = InMemoryPinStore(InMemoryState(CLOCK))
    store = BundleStore(str(tmp_path / "bundles"))
    found = Dataset.open((await export("none", IcebergLake(str(tmp_path)), pins, store, 24.0)).path)
    assert (found.histories().num_rows, found.pins().num_rows, found.served().num_rows) == (0, 0, 0)
    assert list(found.requests(4)) == []
    with pytest.raises(NotFound, match=r"training_rows\.parquet"):
        found.training_rows(ReadOptions(4))
    assert found.content_vectors.dtype == np.float32


def test_a_missing_or_broken_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(Corrupt, match=r"histories\.parquet"):
        Dataset.open(tmp_path)


async def test_the_digest_is_that_of_what_was_sent(stores: Stores) -> None:
    events = [event(n, user_id=f"user-{n % 7}") for n in range(1000)]
    for at in range(0, 1000, 100):
        await stores.sequences.append(Routing(definitions()).route(envelope(events[at : at + 100]), NOW_MS))
    sent: dict[str, list[tuple[int, str, str, str]]] = {}
    for each in events:
        sent.setdefault(each["user_id"], []).append(
            (each["event_time_ms"], each["event_id"], each["event_type"], each["pin_id"])
        )
    assert await digest(stores.sequences, "engagement") == digest_of(sent)
