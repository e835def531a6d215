"""A history that was handed on is used when it is what would have been read."""

import pyarrow as pa
import pytest

from protos.common.v1.common_pb2 import ArrowTable, History
from protos.history import handed_on
from protos.tables import batch_to_table

WANTED = pa.schema([pa.field("pin_id", pa.string()), pa.field("event_time_ms", pa.int64(), nullable=False)])


def rows(num: int, **columns: object) -> pa.RecordBatch:
    times_ms = pa.array(range(num), pa.int64())
    kept = {"event_time_ms": times_ms, "pin_id": [f"pin-{n}" for n in range(num)], "more": [0.5] * num, **columns}
    return pa.RecordBatch.from_pydict(kept)


def history(events: pa.RecordBatch, sequence: str = "engagement", max_events: int = 8) -> History:
    return History(sequence=sequence, events=batch_to_table(events), max_events=max_events)


def pins_of(found: pa.RecordBatch | None) -> list[str] | None:
    return None if found is None else found.column("pin_id").to_pylist()


def test_the_newest_rows_with_the_wanted_columns() -> None:
    found = handed_on(history(rows(5)), "engagement", 3, WANTED)
    assert found is not None and found.schema == WANTED
    assert pins_of(found) == ["pin-2", "pin-3", "pin-4"]


@pytest.mark.parametrize(("asked", "wanted"), [(8, 8), (9, 8), (0, 512)], ids=["as many", "more", "all there are"])
def test_a_short_sequence_is_whole_when_enough_was_asked_for(asked: int, wanted: int) -> None:
    assert pins_of(handed_on(history(rows(2), max_events=asked), "engagement", wanted, WANTED)) == ["pin-0", "pin-1"]
    assert pins_of(handed_on(history(rows(0), max_events=asked), "engagement", wanted, WANTED)) == []


@pytest.mark.parametrize(
    "given",
    [
        History(),
        history(rows(2), sequence="negative"),
        history(rows(2), max_events=7),
        History(sequence="engagement", max_events=8),
        History(sequence="engagement", max_events=8, events=ArrowTable(ipc_stream=b"no table")),
        history(rows(2).drop_columns(["pin_id"])),
        history(rows(2, event_time_ms=["late", "later"])),
        history(rows(2, event_time_ms=pa.array([1, None], pa.int64()))),
    ],
    ids=["nothing", "another", "too short", "empty bytes", "garbage", "no column", "another type", "null"],
)
def test_anything_else_is_read_anew(given: History) -> None:
    assert handed_on(given, "engagement", 8, WANTED) is None
