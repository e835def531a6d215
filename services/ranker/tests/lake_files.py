"""Files as the indexer's job writes them: logged rankings, everybody's events, the pins."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modeling.arrays import Floats
from protos.ranker.v1 import ranker_pb2 as pb
from sequences.dataset import pins_schema
from services.ranker.offline.logged_rankings import HISTORIES, PINS, RANKINGS, PastEvent
from services.ranker.tests.world import NOW_MS, NUM_PINS, WIDTH, pin_id, vector

LONG_AGO_MS = NOW_MS - 10 * 24 * 3_600_000
PIN_AGE_MS, PRICE_MICROS = 10_000_000, 5_000_000  # of every pin, as `FakePins` says


@dataclass
class LakePin:
    """What training knows of a pin."""

    pin_id: str
    content_vector: Floats | None
    created_time_ms: int = NOW_MS - PIN_AGE_MS
    price_micros: int = PRICE_MICROS
    enriched_time_ms: int = LONG_AGO_MS


@dataclass
class LakeFiles:
    """What the lake says; a test changes it before it is written."""

    events: dict[str, list[PastEvent]] = field(default_factory=dict)
    pins: dict[str, LakePin] = field(
        default_factory=lambda: {pin_id(n): LakePin(pin_id(n), vector(n)) for n in range(NUM_PINS)}
    )

    def write(self, folder: Path, rankings: Sequence[pb.ServedFeatures]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([_ranking(each) for each in rankings]), folder / RANKINGS)
        pq.write_table(_histories(self.events), folder / HISTORIES)
        pq.write_table(_pins(list(self.pins.values())), folder / PINS)
        return folder


def _ranking(served: pb.ServedFeatures) -> dict[str, Any]:
    names = ("request_id", "user_id", "surface", "request_time_ms", "model", "model_version", "is_whole_history")
    return {name: getattr(served, name) for name in (*names, "num_gapless_events")} | {
        "versions": json.dumps(dict(served.versions.by_artifact)),
        "vector_versions": json.dumps(dict(served.num_pins_by_vector_version)),
        "defaulted_inputs": list(served.defaulted_inputs),
        "degraded": [each.component for each in served.degradations],
        "pin_ids": list(served.pin_ids),
        "event_ids": list(served.event_ids),
        "inputs": served.inputs.SerializeToString(),
    }


def _histories(events: dict[str, list[PastEvent]]) -> pa.Table:
    columns = {
        "event_ids": ("event_id", pa.string()),
        "pin_ids": ("pin_id", pa.string()),
        "event_types": ("event_type", pa.string()),
        "event_times_ms": ("time_ms", pa.int64()),
        "enriched_times_ms": ("enriched_time_ms", pa.int64()),
    }
    rows = [
        {"user_id": user, **{name: [getattr(e, key) for e in past] for name, (key, _) in columns.items()}}
        for user, past in events.items()
    ]
    kinds = [(name, pa.list_(kind)) for name, (_, kind) in columns.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema([("user_id", pa.string()), *kinds]))


def _pins(pins: list[LakePin]) -> pa.Table:
    rows = [asdict(pin) for pin in pins]
    return pa.Table.from_pylist(rows, schema=pins_schema(WIDTH).append(pa.field("enriched_time_ms", pa.int64())))
