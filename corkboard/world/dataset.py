"""The seeded world as a dataset bundle, without services: what the export of a lake that read it would hold.

`python -m corkboard.world.dataset FOLDER` writes histories, pins, served pins with their labels and training rows.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from corkboard.commands.output import Json, Output, pairs
from corkboard.world.past import Session, make_past
from corkboard.world.pins import make_pins
from corkboard.world.truth import WorldSize, make_truth
from protos.ingest.v1 import ingest_pb2
from sequences.dataset import (
    HISTORIES,
    HISTORIES_FILE,
    PINS_FILE,
    SERVED,
    SERVED_FILE,
    TRAINING_ROWS_FILE,
    pins_schema,
)
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch
from sequences.sequence_value import to_values
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE, TrainingRowsWriter

NOW_MS = 1_800_000_000_000
LABEL_OF = dict(zip(("click", "save", "hide", "long_view", "share", "conversion"), LABELS, strict=True))
SEQUENCE_TYPES = ("click", "save", "long_view", "share", "conversion")
REQUESTS_PER_WRITE = 512


@dataclass(frozen=True)
class _Done:
    """One event with its attributes parsed."""

    event: ingest_pb2.Event
    attributes: Mapping[str, Any]


def write_dataset(size: WorldSize, folder: Path) -> dict[str, int]:
    """The files of a dataset; returns how many rows each has."""
    truth = make_truth(size)
    sessions = list(make_past(size, truth, NOW_MS))
    done = _by_user(sessions)
    tables = {
        HISTORIES_FILE: _histories(done),
        PINS_FILE: _pins(size),
        SERVED_FILE: _served(sessions),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / name, compression="zstd")
    with TrainingRowsWriter(str(folder / TRAINING_ROWS_FILE)) as writer:
        ordered = sorted(sessions, key=lambda one: (one.feed.user_id, one.feed.request_id))
        for at in range(0, len(ordered), REQUESTS_PER_WRITE):
            writer.write(_requests(ordered[at : at + REQUESTS_PER_WRITE], done))
    return {**{name: table.num_rows for name, table in tables.items()}, TRAINING_ROWS_FILE: writer.num_rows}


def _by_user(sessions: Sequence[Session]) -> dict[str, list[_Done]]:
    found: dict[str, list[_Done]] = defaultdict(list)
    for session in sessions:
        for event in session.events:
            found[event.user_id].append(_Done(event, json.loads(event.attributes_json)))
    for events in found.values():
        events.sort(key=lambda one: (one.event.event_time_ms, one.event.event_id))
    return dict(sorted(found.items()))


def _histories(done: Mapping[str, Sequence[_Done]]) -> pa.Table:
    rows = [
        {
            "user_id": user,
            "event_ids": [one.event.event_id for one in events],
            "pin_ids": [one.event.pin_id for one in events],
            "event_types": [one.event.event_type for one in events],
            "event_times_ms": [one.event.event_time_ms for one in events],
            "dwell_s": [one.attributes.get("dwell_s") for one in events],
            "value_micros": [one.attributes.get("value_micros") for one in events],
            "ratings": [None] * len(events),
        }
        for user, events in done.items()
    ]
    return pa.Table.from_pylist(rows, schema=HISTORIES)


def _pins(size: WorldSize) -> pa.Table:
    truth = make_truth(size)
    rows = [
        {
            "pin_id": pin.pin_id,
            "topics": list(pin.topics),
            "content_vector": truth.vectors_PD[number],
            "created_time_ms": pin.created_time_ms,
            "advertiser_id": pin.advertiser_id,
            "price_micros": pin.price_micros,
            "content_group": "",
            "locale": pin.locale,
        }
        for number, pin in enumerate(make_pins(size, truth, NOW_MS))
    ]
    return pa.Table.from_pylist(rows, schema=pins_schema(truth.vectors_PD.shape[1]))


def _served(sessions: Sequence[Session]) -> pa.Table:
    ordered = sorted(sessions, key=lambda one: (one.feed.user_id, one.feed.served_time_ms, one.feed.request_id))
    return pa.Table.from_pylist(
        [
            {
                "request_id": one.feed.request_id,
                "user_id": one.feed.user_id,
                "surface": one.feed.surface,
                "served_time_ms": one.feed.served_time_ms,
                **row,
            }
            for one in ordered
            for row in _candidates(one)
        ],
        schema=SERVED,
    )


def _candidates(session: Session) -> list[dict[str, Any]]:
    """What was served, with what the person did with it."""
    done = {(event.pin_id, event.event_type) for event in session.events}
    return [
        {
            "pin_id": each.pin_id,
            "position": each.position,
            "score": 0.0,
            **{label: (each.pin_id, kind) in done for kind, label in LABEL_OF.items()},
        }
        for each in session.feed.candidates
    ]


def _requests(sessions: Sequence[Session], done: Mapping[str, Sequence[_Done]]) -> RequestBatch:
    sequences = [_as_of(done.get(one.feed.user_id, ()), one.feed.served_time_ms) for one in sessions]
    requests: dict[str, Any] = {name: [None] * len(sessions) for name in REQUEST_FIELDS.names}
    requests |= {
        "user_id": [one.feed.user_id for one in sessions],
        "request_id": [one.feed.request_id for one in sessions],
        "served_time_ms": [one.feed.served_time_ms for one in sessions],
        "served_date": [
            np.datetime64(one.feed.served_time_ms, "ms").astype("datetime64[D]").item() for one in sessions
        ],
        "surface": [one.feed.surface for one in sessions],
        "num_events": [len(each) for each in sequences],
        SEQUENCE: to_values(sequences),
    }
    rows = [{"generator": "popular", **row} for one in sessions for row in _candidates(one)]
    lengths = [len(one.feed.candidates) for one in sessions]
    return RequestBatch(
        pa.table(requests, schema=REQUEST_FIELDS),
        pa.Table.from_pylist(rows, schema=CANDIDATE_FIELDS),
        np.repeat(np.arange(len(sessions), dtype=np.int64), lengths),
    )


def _as_of(events: Sequence[_Done], time_ms: int) -> pa.RecordBatch:
    """What the person had done before `time_ms`, oldest first."""
    seen = [one for one in events if one.event.event_time_ms < time_ms and one.event.event_type in SEQUENCE_TYPES]
    columns = {
        "pin_id": pa.array([one.event.pin_id for one in seen], pa.string()),
        "event_type": pa.array([one.event.event_type for one in seen], pa.string()),
        "event_time_ms": pa.array([one.event.event_time_ms for one in seen], pa.int64()),
        "dwell_s": pa.array([one.attributes.get("dwell_s") for one in seen], pa.float32()),
    }
    return pa.RecordBatch.from_pydict(columns)


def main(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    pins: Annotated[int, typer.Option(min=50, help="How many pins.")] = 5_000,
    people: Annotated[int, typer.Option(min=5, help="How many people.")] = 500,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions per person.")] = 8,
    ads_per_session: Annotated[int, typer.Option(min=0, help="Ads among the pins of a session.")] = 3,
    ad_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Ads among all pins.")] = 0.06,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 7,
    json_: Json = False,
) -> None:
    """Write the seeded world as a dataset bundle."""
    size = WorldSize(
        pins,
        people,
        num_sessions_per_person=sessions,
        num_ads_per_session=ads_per_session,
        ad_share=ad_share,
        seed=seed,
    )
    Output(json_).say(f"making a world of {pins:,} pins and {people:,} people (seed {seed})")
    rows = write_dataset(size, folder)
    Output(json_).result(rows, lambda: pairs(str(folder), rows))


if __name__ == "__main__":
    typer.run(main)
