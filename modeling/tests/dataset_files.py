"""Training data written as the files of a dataset bundle."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from modeling.training_data import TrainingData
from sequences.dataset import HISTORIES, HISTORIES_FILE, PINS_FILE, SERVED, SERVED_FILE, pins_schema


def write_dataset(folder: Path, data: TrainingData) -> Path:
    """The folder, with all three files."""
    folder.mkdir(parents=True, exist_ok=True)
    histories = [
        {
            "user_id": item.user_id,
            "event_ids": [f"{item.user_id}-{n}" for n in range(len(item.pin_ids))],
            "pin_ids": list(item.pin_ids),
            "event_types": list(item.event_types),
            "event_times_ms": list(item.event_times_ms),
            "dwell_s": [None] * len(item.pin_ids),
            "value_micros": [None] * len(item.pin_ids),
            "ratings": [None] * len(item.pin_ids),
        }
        for item in data.histories
    ]
    pins = [
        {
            "pin_id": pin_id,
            "topics": list(data.pins.topics[row]),
            "content_vector": data.pins.content_PW[row],
            "created_time_ms": int(data.pins.created_ms_P[row]),
            "advertiser_id": "",
            "price_micros": int(data.pins.price_micros_P[row]),
            "content_group": "",
            "locale": "",
        }
        for row, pin_id in enumerate(data.pins.pin_ids)
    ]
    served = data.served.to_pylist() if data.served is not None else []
    tables = {
        HISTORIES_FILE: pa.Table.from_pylist(histories, schema=HISTORIES),
        PINS_FILE: pa.Table.from_pylist(pins, schema=pins_schema(data.pins.content_PW.shape[1])),
        SERVED_FILE: pa.Table.from_pylist(served, schema=SERVED),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    return folder
