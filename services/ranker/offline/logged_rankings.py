"""Rankings as the root logged them, and what the lake knows of their users, read from files.

Shapes: C candidates and L history events of one ranking.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.message import DecodeError

from chassis.errors import Corrupt
from modeling.arrays import AnyArray
from modeling.interactions import ENGAGEMENT_TYPES
from modeling.training_data import PinTable, from_tables
from protos.common.v1.common_pb2 import NamedTensors
from protos.tensors import tensor_to_numpy
from services.ranker.domain.features import CANDIDATE, FEATURES

RANKINGS, HISTORIES, PINS = "rankings.parquet", "histories.parquet", "pins.parquet"


@dataclass(frozen=True)
class LoggedRanking:
    """One row of the lake's `served_features`; `tensors` as they were sent, their rows named by pin and event ids."""

    request_id: str
    user_id: str
    surface: str
    time_ms: int
    model: str
    model_version: str
    versions: Mapping[str, str]
    vector_versions: Mapping[str, int]
    pin_ids: tuple[str, ...]
    event_ids: tuple[str, ...]
    num_gapless_events: int
    is_whole_history: bool
    defaulted_inputs: frozenset[str]
    degraded: frozenset[str]
    tensors: Mapping[str, AnyArray]

    def num_rows(self, feature: str) -> int:
        """L or C."""
        return len(self.pin_ids if FEATURES[feature].axis == CANDIDATE else self.event_ids)


@dataclass(frozen=True)
class PastEvent:
    """An event of the lake; `enriched_time_ms` is when it can have been readable at the earliest."""

    event_id: str
    pin_id: str
    event_type: str
    time_ms: int
    enriched_time_ms: int


@dataclass(frozen=True)
class Lake:
    """Everybody's events, in their order, and the pins that they and the candidates are of."""

    past: Mapping[str, tuple[PastEvent, ...]]
    pins: PinTable
    pin_enriched_time_ms: Mapping[str, int]

    @cached_property
    def pin_rows(self) -> Mapping[str, int]:
        """Row of each known pin."""
        return {pin_id: row for row, pin_id in enumerate(self.pins.pin_ids)}


def read_files(folder: Path) -> tuple[list[LoggedRanking], Lake]:
    """What `services.indexer.offline.served_features` wrote. Raises: Corrupt."""
    try:
        rankings, histories, pins = (pq.read_table(folder / name) for name in (RANKINGS, HISTORIES, PINS))
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"files of {folder} cannot be read: {error}") from error
    data = from_tables(folder.name, histories, pins, None)
    enriched = dict(zip(pins.column("pin_id").to_pylist(), pins.column("enriched_time_ms").to_pylist(), strict=True))
    return [_ranking(row) for row in rankings.to_pylist()], Lake(_past(histories), data.pins, enriched)


def _past(histories: pa.Table) -> dict[str, tuple[PastEvent, ...]]:
    """Of the types that training reads."""
    names = ("event_ids", "pin_ids", "event_types", "event_times_ms", "enriched_times_ms")
    found = {}
    for row in histories.to_pylist():
        events = (PastEvent(*event) for event in zip(*(row[name] for name in names), strict=True))
        found[row["user_id"]] = tuple(each for each in events if each.event_type in ENGAGEMENT_TYPES)
    return found


def _ranking(row: Mapping[str, Any]) -> LoggedRanking:
    try:
        inputs = NamedTensors.FromString(row["inputs"])
    except DecodeError as error:
        raise Corrupt(f"inputs of request {row['request_id']!r} cannot be read: {error}", field="inputs") from error
    return LoggedRanking(
        request_id=row["request_id"],
        user_id=row["user_id"],
        surface=row["surface"],
        time_ms=row["request_time_ms"],
        model=row["model"],
        model_version=row["model_version"],
        versions=json.loads(row["versions"]),
        vector_versions=json.loads(row["vector_versions"]),
        pin_ids=tuple(row["pin_ids"]),
        event_ids=tuple(row["event_ids"]),
        num_gapless_events=row["num_gapless_events"],
        is_whole_history=row["is_whole_history"],
        defaulted_inputs=frozenset(row["defaulted_inputs"]),
        degraded=frozenset(row["degraded"]),
        tensors={name: tensor_to_numpy(tensor) for name, tensor in inputs.by_name.items() if name in FEATURES},
    )
