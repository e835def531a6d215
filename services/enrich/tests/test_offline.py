"""The batch run: the same rows as the stream, counted."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sequences.definitions.bundle import FILE
from sequences.definitions.columns import enriched_schema
from sequences.definitions.testing import repository_definitions
from sequences.testing import events_batch, run
from services.enrich.offline.enrich_events import main

PIN = {
    "pin_id": "p-1",
    "topics": ["art"],
    "creator_id": "",
    "advertiser_id": "",
    "price_micros": 5,
    "created_time_ms": 1_600_000_000_000,
    "content_group": "",
}


def prepare(folder: Path) -> list[str]:
    (folder / FILE).write_bytes(repository_definitions().canonical_json())
    events = events_batch(
        [
            {"event_id": "a"},
            {"event_id": "b", "user_id": "bot-1"},
            {"event_id": "c", "event_type": "gone"},
        ]
    )
    pq.write_table(pa.Table.from_batches([events]), folder / "in.parquet")
    pq.write_table(pa.Table.from_pylist([PIN]), folder / "pins.parquet")
    return [
        "--definitions",
        str(folder),
        "--input",
        str(folder / "in.parquet"),
        "--output",
        str(folder / "out.parquet"),
        "--pins",
        str(folder / "pins.parquet"),
    ]


def test_history_is_enriched_as_the_stream_would(tmp_path: Path) -> None:
    assert main(prepare(tmp_path)) == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == enriched_schema(repository_definitions()).names
    streamed = run(repository_definitions(), [{"event_id": "a"}], pins={"p-1": PIN}).batch
    assert table.select(streamed.schema.names).to_pylist() == streamed.to_pylist()
    [failure] = pq.read_table(tmp_path / "out.failures.parquet").to_pylist()
    assert (failure["event_id"], failure["enrichment"]) == ("c", "attributes")


def test_a_job_that_cannot_run_leaves_no_output(tmp_path: Path) -> None:
    arguments = prepare(tmp_path)
    pq.write_table(pa.Table.from_pylist([{"event_id": "a"}]), tmp_path / "in.parquet")
    assert main(arguments) == 1
    assert not (tmp_path / "out.parquet").exists()
    assert not list(tmp_path.glob(".*"))
