"""A data set for training and evaluation: histories, pins and served requests of one bundle.

Shapes: R requests, B candidates, D vector width. Candidates of one request share its features, so a batch carries
request features once and says which request each candidate belongs to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chassis.errors import Corrupt, NotFound
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch
from sequences.training_reader import ReadOptions, TrainingReader

HISTORIES_FILE = "histories.parquet"
PINS_FILE = "pins.parquet"
SERVED_FILE = "served.parquet"
TRAINING_ROWS_FILE = "training_rows.parquet"

REQUEST_COLUMNS = ("request_id", "user_id", "surface", "served_time_ms")

HISTORIES: pa.Schema = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_ids", pa.list_(pa.string())),
        ("pin_ids", pa.list_(pa.string())),
        ("event_types", pa.list_(pa.string())),
        ("event_times_ms", pa.list_(pa.int64())),
        ("dwell_s", pa.list_(pa.float32())),
        ("value_micros", pa.list_(pa.int64())),
        ("ratings", pa.list_(pa.float32())),
    ]
)
"""One row per user, lists in the order of (event time, event id)."""

SERVED: pa.Schema = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("surface", pa.string()),
        ("served_time_ms", pa.int64()),
        ("pin_id", pa.string()),
        ("position", pa.int32()),
        ("score", pa.float64()),
        *((label, pa.bool_()) for label in LABELS),
    ]
)
"""One row per served pin, sorted by (user id, served time, request id, position)."""


def pins_schema(vector_width: int) -> pa.Schema:
    """One row per pin; a pin without vector has null."""
    return pa.schema(
        [
            ("pin_id", pa.string()),
            ("topics", pa.list_(pa.string())),
            ("content_vector", pa.list_(pa.float32(), vector_width)),
            ("created_time_ms", pa.int64()),
            ("advertiser_id", pa.string()),
            ("price_micros", pa.int64()),
            ("content_group", pa.string()),
            ("locale", pa.string()),
        ]
    )


@dataclass(frozen=True)
class Position:
    """Where a reader goes on: `epoch` seeds the order, `num_requests` are done."""

    epoch: int = 0
    num_requests: int = 0


@dataclass(frozen=True)
class Dataset:
    """Read whole; a file that the bundle lacks is an error."""

    path: Path
    _cache: dict[str, pa.Table] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path | str) -> "Dataset":
        """The data set in an opened bundle directory. Raises: NotFound, Corrupt when a file is missing."""
        dataset = cls(Path(path))
        if not dataset.path.is_dir():
            raise NotFound(f"there is no data set at {dataset.path}", field="path")
        for name in (HISTORIES_FILE, PINS_FILE, SERVED_FILE):
            if not (dataset.path / name).is_file():
                raise Corrupt(f"data set {dataset.path.name} has no {name}", reason="missing_file")
        return dataset

    def histories(self) -> pa.Table:
        """One row per user, see HISTORIES."""
        return self._table(HISTORIES_FILE)

    def pins(self) -> pa.Table:
        """One row per pin, see `pins_schema`."""
        return self._table(PINS_FILE)

    def served(self) -> pa.Table:
        """One row per served pin, see SERVED."""
        return self._table(SERVED_FILE)

    def training_rows(self, options: ReadOptions) -> TrainingReader:
        """Requests with the user's sequence as of each, not read whole. Raises: NotFound in a data set without them."""
        file = self.path / TRAINING_ROWS_FILE
        if not file.is_file():
            raise NotFound(
                f"data set {self.path.name} has no {TRAINING_ROWS_FILE}; export it anew", reason="no_training_rows"
            )
        return TrainingReader([file], options)

    @cached_property
    def pin_ids(self) -> list[str]:
        """In the order of `pins`."""
        found: list[str] = self.pins().column("pin_id").to_pylist()
        return found

    @cached_property
    def content_vectors(self) -> NDArray[np.float32]:
        """float32 [P, D] in the order of `pins`; zeros for a pin without vector."""
        column = self.pins().column("content_vector").combine_chunks()
        width = self.pins().schema.field("content_vector").type.list_size
        vectors = np.zeros((len(column), width), dtype=np.float32)
        is_valid = column.is_valid().to_numpy(zero_copy_only=False)
        vectors[is_valid] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        return vectors

    def requests(
        self, requests_per_batch: int, *, surface: str = "", seed: int | None = None, start: Position | None = None
    ) -> Iterator[tuple[RequestBatch, Position]]:
        """Batches of whole requests, each with the position after it.

        Without `seed` in the order of time; with one, shuffled by request, differently in each epoch.
        """
        position = start or Position()
        served = self._by_request(surface)
        starts_R1 = _request_starts(served)
        order_R = np.arange(len(starts_R1) - 1)
        if seed is not None:
            np.random.default_rng([seed, position.epoch]).shuffle(order_R)
        for at in range(position.num_requests, len(order_R), requests_per_batch):
            chosen_R = order_R[at : at + requests_per_batch]
            yield _batch(served, starts_R1, chosen_R), Position(position.epoch, at + len(chosen_R))

    def _by_request(self, surface: str) -> pa.Table:
        served = self.served()
        if surface:
            mask = np.asarray(served.column("surface").to_pylist(), dtype=object) == surface
            served = served.filter(pa.array(mask, type=pa.bool_()))
        return served.sort_by([("served_time_ms", "ascending"), ("request_id", "ascending"), ("position", "ascending")])

    def _table(self, name: str) -> pa.Table:
        if name not in self._cache:
            try:
                self._cache[name] = pq.read_table(self.path / name)
            except (pa.ArrowException, OSError) as error:
                raise Corrupt(f"{name} of data set {self.path.name} is not readable: {error}") from error
        return self._cache[name]


def _request_starts(served: pa.Table) -> NDArray[np.int64]:
    """First row of each request, and the number of rows; rows of a request are neighbours."""
    request_ids = np.asarray(served.column("request_id").to_pylist(), dtype=object)
    is_first = np.ones(len(request_ids), dtype=bool)
    is_first[1:] = request_ids[1:] != request_ids[:-1]
    return np.append(np.flatnonzero(is_first), len(request_ids)).astype(np.int64)


def _batch(served: pa.Table, starts_R1: NDArray[np.int64], chosen_R: Sequence[int] | NDArray[np.int64]) -> RequestBatch:
    rows_B = np.concatenate([np.arange(starts_R1[each], starts_R1[each + 1]) for each in chosen_R])
    lengths_R = [starts_R1[each + 1] - starts_R1[each] for each in chosen_R]
    candidates = [name for name in served.schema.names if name not in REQUEST_COLUMNS]
    return RequestBatch(
        request_features=served.select(list(REQUEST_COLUMNS)).take(pa.array(starts_R1[np.asarray(chosen_R)])),
        candidate_features=served.select(candidates).take(pa.array(rows_B)),
        row_to_request=np.repeat(np.arange(len(lengths_R), dtype=np.int64), lengths_R),
    )
