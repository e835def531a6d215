"""Training rows against rows that repeat the user's sequence as lists: bytes on disk, and how fast they are written.

`python -m bench training_rows` needs no house. Both peers are pyarrow with zstd at its default level and one list per
column of the sequence: "spread" is what the ratio of sizes refers to, the candidates of a request lie as far from each
other as they can, as in rows shuffled by the million, so that nothing is deduplicated by chance; "sorted" has them as
neighbours, and is what the speed is compared with. All hold the same events, which is proven before anything is timed:
every candidate's sequence is read back and compared. Rounds take turns, figures are medians of CPU time, since other
processes share the machine; the peers' time leaves out putting the lists together, ours includes making the values.
Every user has one request, so that nothing is gained from requests that resemble each other; what that gains is the
last row.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.load import gate
from sequences.request_batch import RequestBatch, joined
from sequences.sequence_value import to_values, unpacked
from sequences.training_reader import ReadOptions, TrainingReader
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE, TrainingRowsWriter

CANDIDATES = (10, 25, 50)
LENGTHS = (512, 4_096, 16_384)
EVENT_BYTES = 24  # pin id and time of 8 bytes, dwell and kind of 4
LOGICAL_BYTES = 768 * 1024 * 1024  # of sequences, repeated; the lists of one file are in memory
LISTS_PER_WRITE = 32 * 1024 * 1024 // EVENT_BYTES  # events; a row group of lists
ROUNDS = 3
SIZE_GOAL = 1 / 0.9  # a ratio of 0.9 C
TIME_GOAL = 0.25
COLUMNS = ("pin_id", "event_time_ms", "dwell_s", "event_type")


@dataclass(frozen=True)
class Case:
    """R requests of C candidates with sequences of L events."""

    num_candidates: int
    length: int
    requests_per_user: int = 1

    @property
    def num_requests(self) -> int:
        """R."""
        per_request = self.num_candidates * self.length * EVENT_BYTES
        return max(
            self.requests_per_user, LOGICAL_BYTES // per_request // self.requests_per_user * self.requests_per_user
        )

    @property
    def logical_bytes(self) -> int:
        """Of the sequences, with every repetition."""
        return self.num_requests * self.num_candidates * self.length * EVENT_BYTES


def data_of(case: Case) -> tuple[RequestBatch, list[pa.RecordBatch]]:
    """The requests without their sequences, and the sequence of each."""
    dice = np.random.default_rng(case.length)
    sequences: list[pa.RecordBatch] = []
    for _ in range(case.num_requests // case.requests_per_user):
        sequences += _of_user(dice, case.length, case.requests_per_user)
    users = np.arange(case.num_requests) // case.requests_per_user
    requests = {
        name: pa.nulls(case.num_requests, REQUEST_FIELDS.field(name).type)
        for name in REQUEST_FIELDS.names
        if name != SEQUENCE
    }
    requests["user_id"] = pa.array([f"user-{user:06d}" for user in users])
    requests["request_id"] = pa.array([f"request-{number:08d}" for number in range(case.num_requests)])
    requests["num_events"] = pa.array([each.num_rows for each in sequences], type=pa.int32())
    num_rows = case.num_requests * case.num_candidates
    candidates = {name: pa.nulls(num_rows, CANDIDATE_FIELDS.field(name).type) for name in CANDIDATE_FIELDS.names}
    candidates["pin_id"] = pa.array([f"pin-{pin}" for pin in dice.integers(0, 10**9, num_rows)])
    candidates["score"] = pa.array(dice.random(num_rows))
    row_to_request = np.repeat(np.arange(case.num_requests, dtype=np.int64), case.num_candidates)
    return RequestBatch(pa.table(requests), pa.table(candidates), row_to_request), sequences


def _of_user(dice: np.random.Generator, length: int, num_requests: int) -> list[pa.RecordBatch]:
    """Each request sees eight events more than the one before."""
    total = length + 8 * (num_requests - 1)
    events = pa.record_batch(
        {
            "pin_id": dice.zipf(1.3, total).clip(max=10**9),
            "event_time_ms": 1_700_000_000_000 + np.cumsum(dice.integers(1, 600_000, total)),
            "dwell_s": dice.exponential(8.0, total).astype(np.float32),
            "event_type": dice.choice(6, total, p=[0.7, 0.15, 0.05, 0.05, 0.03, 0.02]).astype(np.int32),
        }
    )
    return [events.slice(8 * number, length) for number in range(num_requests)]


class Lists:
    """Every candidate's sequence as one list per column, in the given order of rows."""

    def __init__(self, batch: RequestBatch, sequences: list[pa.RecordBatch], order_B: np.ndarray) -> None:
        length = sequences[0].num_rows
        requests_B = batch.row_to_request[order_B]
        self._per_write = max(1, LISTS_PER_WRITE // length)
        self._columns = {name: np.stack([each.column(name).to_numpy() for each in sequences]) for name in COLUMNS}
        self._requests_B = requests_B
        keys = batch.request_features.select(["user_id", "request_id"]).take(pa.array(requests_B))
        candidates = batch.candidate_features.select(["pin_id", "score"]).take(pa.array(order_B))
        self._scalars = pa.table(
            [*keys.columns, *candidates.columns], names=["user_id", "request_id", "candidate", "score"]
        )

    def write(self, path: Path) -> float:
        """Seconds that writing took, without putting the rows together."""
        took_s, writer = 0.0, None
        for at in range(0, len(self._requests_B), self._per_write):
            rows = self._rows(at)
            start_s = time.process_time()
            writer = writer or pq.ParquetWriter(path, rows.schema, compression="zstd")
            writer.write_table(rows)
            took_s += time.process_time() - start_s
        assert writer is not None
        start_s = time.process_time()
        writer.close()
        return took_s + time.process_time() - start_s

    def _rows(self, at: int) -> pa.Table:
        requests = self._requests_B[at : at + self._per_write]
        rows = self._scalars.slice(at, len(requests))
        for name, values_RL in self._columns.items():
            values = values_RL[requests]
            offsets = np.arange(len(requests) + 1, dtype=np.int32) * values.shape[1]
            rows = rows.append_column(name, pa.ListArray.from_arrays(offsets, values.reshape(-1)))
        return rows


def write_rows(batch: RequestBatch, sequences: list[pa.RecordBatch], path: Path) -> float:
    """Seconds from the sequences of the requests to the closed file, a few requests at a time."""
    start_s, size = time.process_time(), 256
    with TrainingRowsWriter(path) as writer:
        for at in range(0, batch.num_requests, size):
            part = batch.take(np.arange(at, min(at + size, batch.num_requests)))
            values = to_values(sequences[at : at + size])
            requests = part.request_features.append_column(SEQUENCE, values)
            writer.write(RequestBatch(requests, part.candidate_features, part.row_to_request))
    return time.process_time() - start_s


def check(case: Case, ours: Path, lists: Path) -> None:
    """Every row of both files says the same. Raises: AssertionError."""
    read = joined(list(TrainingReader([ours], ReadOptions(64))))
    events, offsets_R1 = unpacked(read.request_features.column(SEQUENCE))
    values = {name: events.column(name).to_numpy().reshape(-1, case.length) for name in COLUMNS}
    assert (np.diff(offsets_R1) == case.length).all()
    ids_R = np.asarray(read.request_features.column("request_id").to_pylist())
    pins = read.candidate_features.column("pin_id").to_pylist()
    with pq.ParquetFile(lists) as file:
        at = 0
        for rows in file.iter_batches(batch_size=max(1, LISTS_PER_WRITE // case.length)):
            requests = read.row_to_request[at : at + rows.num_rows]
            assert rows.column("request_id").to_pylist() == ids_R[requests].tolist()
            assert rows.column("candidate").to_pylist() == pins[at : at + rows.num_rows]
            for name in COLUMNS:
                found = rows.column(name).flatten().to_numpy().reshape(-1, case.length)
                assert (found == values[name][requests]).all(), name
            at += rows.num_rows
        assert at == len(read.row_to_request)


def sequence_bytes(path: Path) -> int:
    """Of the columns that hold sequences, compressed; the candidates' own columns are the same on all sides."""
    metadata, names = pq.read_metadata(path), {SEQUENCE, *(f"{name}.list.element" for name in COLUMNS)}
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(metadata.num_columns)]
    return sum(each.total_compressed_size for each in columns if each.path_in_schema in names)


def measure_case(case: Case, folder: Path) -> dict[str, Any]:
    """Sizes and speeds of one case."""
    batch, sequences = data_of(case)
    paths = {name: folder / f"{name}.parquet" for name in ("ours", "sorted", "spread")}
    num_rows = len(batch.row_to_request)
    in_order = Lists(batch, sequences, np.arange(num_rows))
    spread = Lists(batch, sequences, np.arange(num_rows).reshape(-1, case.num_candidates).T.reshape(-1))
    sides: dict[str, Callable[[Path], float]] = {
        "ours": lambda path: write_rows(batch, sequences, path),
        "sorted": in_order.write,
    }
    for name, write in sides.items():
        write(paths[name])
    check(case, paths["ours"], paths["sorted"])
    spread.write(paths["spread"])
    took_s: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, write in sides.items():
            took_s[name].append(write(paths[name]))
    megabytes = case.logical_bytes / 1e6
    speeds = {name: megabytes / statistics.median(each) for name, each in took_s.items()}
    sizes = {name: sequence_bytes(path) for name, path in paths.items()}
    file_sizes = {name: path.stat().st_size for name, path in paths.items()}
    for path in paths.values():
        path.unlink()
    return {
        "candidates": case.num_candidates,
        "events": case.length,
        "requests": case.num_requests,
        "requests_per_user": case.requests_per_user,
        "logical_mb": round(megabytes),
        "sequence_bytes": sizes,
        "file_bytes": file_sizes,
        "size_ratio": round(sizes["spread"] / sizes["ours"], 2),
        "size_ratio_of_files": round(file_sizes["spread"] / file_sizes["ours"], 2),
        "size_ratio_of_sorting_alone": round(sizes["spread"] / sizes["sorted"], 2),
        "write_mb_per_s": {name: round(speed) for name, speed in speeds.items()},
        "speedup": round(speeds["ours"] / speeds["sorted"], 2),
    }


def measure() -> dict[str, Any]:
    """Every case; the goals are for one request per user."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure_case(Case(c, length), Path(folder)) for length in LENGTHS for c in CANDIDATES]
        similar = measure_case(Case(25, 4_096, requests_per_user=4), Path(folder))
    gates = [
        gate(f"bytes times C, share of spread lists' ({_name(row)})", 1 / _share_of_c(row), SIZE_GOAL) for row in rows
    ]
    gates += [gate(f"write time, share of sorted lists' ({_name(row)})", 1 / row["speedup"], TIME_GOAL) for row in rows]
    return {
        "peer": "pyarrow, one list column per column of the sequence, zstd level 3: spread (size), sorted (speed)",
        "rows": [*rows, similar],
        "gates": gates,
    }


def _share_of_c(row: dict[str, Any]) -> float:
    return float(row["size_ratio"] / row["candidates"])


def _name(row: dict[str, Any]) -> str:
    return f"C={row['candidates']}, {row['events']:,} events"
