"""A seeded world with ads whose purchases follow needs, not clicks; written as a dataset with training rows.

Even people need what even advertisers sell, odd people the other half; everybody clicks the same tempting ads.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sequences.dataset import (
    HISTORIES,
    HISTORIES_FILE,
    PINS_FILE,
    SERVED,
    SERVED_FILE,
    TRAINING_ROWS_FILE,
    pins_schema,
)
from sequences.request_batch import RequestBatch
from sequences.sequence_value import to_values
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, TrainingRowsWriter
from services.cg.domain.pin import IndexedPin

NUM_ADS, NUM_OTHERS, NUM_USERS, REQUESTS_PER_USER, ADS_PER_REQUEST, WIDTH = 120, 40, 80, 8, 5, 12
NUM_ADVERTISERS = 12
START_MS, HOUR_MS = 1_700_000_000_000, 3_600_000
TEMPTING = 4  # every fourth ad is clicked by all
SETTINGS = {"embedding_width": 8, "hidden_width": 32, "vector_width": 16, "max_history": 16, "content_inner_width": 8}


def pin_id(number: int) -> str:
    """Ads come first."""
    return f"pin-{number:03d}"


def advertiser(number: int) -> str:
    """Of a pin; "" for one that is no ad."""
    return f"shop-{number % NUM_ADVERTISERS}" if number < NUM_ADS else ""


def vector(number: int) -> np.ndarray:
    """Pins of even and odd advertisers point different ways."""
    values = np.random.default_rng(number).normal(scale=0.3, size=WIDTH)
    values[number % 2] += 1.0
    return (values / np.linalg.norm(values)).astype(np.float32)


def _actions(random: np.random.Generator, user: int, pin: int) -> list[str]:
    found = []
    if pin % TEMPTING == 0 and random.random() < 0.6:
        found.append("click")
    if pin % 2 == user % 2 and random.random() < 0.5:
        found += ["click", "conversion"]
    return sorted(set(found))


def write_dataset(folder: Path) -> Path:
    """The folder, with histories, pins, served pins and training rows."""
    random, folder = np.random.default_rng(5), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    served: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    histories: list[dict[str, Any]] = []
    for user in range(NUM_USERS):
        done: list[tuple[str, str, int, float | None]] = []
        for visit in range(REQUESTS_PER_USER):
            time_ms = START_MS + visit * 48 * HOUR_MS + user * 60_000
            shown = [int(n) for n in random.choice(NUM_ADS, ADS_PER_REQUEST, replace=False)]
            shown.append(NUM_ADS + int(random.integers(NUM_OTHERS)))
            request = {"user_id": f"user-{user:03d}", "request_id": f"r-{user:03d}-{visit}", "served_time_ms": time_ms}
            requests.append({**request, "sequence": _sequence(done)})
            for position, pin in enumerate(shown):
                actions = _actions(random, user, pin)
                served.append(
                    {**request, "surface": "home", "pin_id": pin_id(pin), "position": position, **_labels(actions)}
                )
                dwell_s = None if random.random() < 0.2 else 20.0 if pin % 2 == user % 2 else 2.0
                done += [(pin_id(pin), each, time_ms + 1_000, dwell_s if each == "click" else None) for each in actions]
        histories.append(_history(f"user-{user:03d}", done))
    pins = [_pin(number) for number in range(NUM_ADS + NUM_OTHERS)]
    pq.write_table(pa.Table.from_pylist(histories, schema=HISTORIES), folder / HISTORIES_FILE)
    pq.write_table(pa.Table.from_pylist(pins, schema=pins_schema(WIDTH)), folder / PINS_FILE)
    pq.write_table(pa.Table.from_pylist([{"score": 0.0, **row} for row in served], schema=SERVED), folder / SERVED_FILE)
    with TrainingRowsWriter(str(folder / TRAINING_ROWS_FILE)) as writer:
        writer.write(_rows(requests, served))
    return folder


def _rows(requests: list[dict[str, Any]], served: list[dict[str, Any]]) -> RequestBatch:
    columns: dict[str, Any] = {name: [None] * len(requests) for name in REQUEST_FIELDS.names}
    for name in ("user_id", "request_id", "served_time_ms"):
        columns[name] = [each[name] for each in requests]
    columns["surface"] = ["home"] * len(requests)
    columns["num_events"] = [each["sequence"].num_rows for each in requests]
    columns["sequence"] = to_values([each["sequence"] for each in requests])
    candidates = [{"generator": "shopping", "score": 0.0, **row} for row in served]
    return RequestBatch(
        pa.table(columns, schema=REQUEST_FIELDS),
        pa.Table.from_pylist(candidates, schema=CANDIDATE_FIELDS),
        np.repeat(np.arange(len(requests)), ADS_PER_REQUEST + 1),
    )


def _labels(actions: list[str]) -> dict[str, bool]:
    labels = dict.fromkeys(("saved", "hidden", "long_viewed", "shared"), False)
    return {**labels, "clicked": "click" in actions, "converted": "conversion" in actions}


def _sequence(done: list[tuple[str, str, int, float | None]]) -> pa.RecordBatch:
    columns = {
        "pin_id": pa.array([each[0] for each in done], pa.string()),
        "event_type": pa.array([each[1] for each in done], pa.string()),
        "event_time_ms": pa.array([each[2] for each in done], pa.int64()),
    }
    return pa.RecordBatch.from_pydict(columns)


def _history(user_id: str, done: list[tuple[str, str, int, float | None]]) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "event_ids": [f"{user_id}-{number}" for number in range(len(done))],
        "pin_ids": [each[0] for each in done],
        "event_types": [each[1] for each in done],
        "event_times_ms": [each[2] for each in done],
        "dwell_s": [each[3] for each in done],
        "value_micros": [None] * len(done),
        "ratings": [None] * len(done),
    }


def _pin(number: int) -> dict[str, Any]:
    return {
        "pin_id": pin_id(number),
        "topics": [f"need-{number % 2}"],
        "content_vector": vector(number),
        "created_time_ms": START_MS,
        "advertiser_id": advertiser(number),
        "price_micros": 10_000_000 * (1 + number % 3) if number < NUM_ADS else 0,
        "content_group": "",
        "locale": "en-US",
    }


def indexed(number: int) -> IndexedPin:
    """The pin as retrieval sees it."""
    row = _pin(number)
    return IndexedPin(
        pin_id=row["pin_id"],
        content_vector=row["content_vector"],
        topics=tuple(row["topics"]),
        created_time_ms=row["created_time_ms"],
        quality_score=0.5,
        locale=row["locale"],
        advertiser_id=row["advertiser_id"],
        price_micros=row["price_micros"],
    )
