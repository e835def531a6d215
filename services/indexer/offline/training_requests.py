"""Served requests with their labels and the user's sequence as of each: what training rows are made of."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.definitions.event_type import DAY_MS
from sequences.request_batch import RequestBatch
from sequences.sequence_value import to_values
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE
from services.indexer.domain.point_in_time import Asked, visible
from services.indexer.offline.sequence_events import SequenceEvents

REQUESTS_PER_BATCH = 256  # of 16,000 events each still below a gigabyte


def training_requests(served: pa.Table, events: SequenceEvents) -> Iterator[RequestBatch]:
    """Batches in the order of (user id, request id). `served` has the columns of `labelled_candidates`, so sorted."""
    if not served.num_rows:
        return
    starts_R1 = _starts(served)
    for at in range(0, len(starts_R1) - 1, REQUESTS_PER_BATCH):
        bounds = starts_R1[at : at + REQUESTS_PER_BATCH + 1]
        rows = served.slice(bounds[0], bounds[-1] - bounds[0])
        yield _batch(rows, bounds - bounds[0], events)


def _starts(served: pa.Table) -> NDArray[np.int64]:
    """Where each request begins, and the number of rows."""
    is_first = np.ones(served.num_rows, np.bool_)
    for name in ("user_id", "request_id"):
        codes = served.column(name).combine_chunks().dictionary_encode().indices.to_numpy()
        is_next = codes[1:] != codes[:-1]
        is_first[1:] = is_next if name == "user_id" else is_first[1:] | is_next
    return np.append(np.flatnonzero(is_first), served.num_rows)


def _batch(rows: pa.Table, starts_R1: NDArray[np.int64], events: SequenceEvents) -> RequestBatch:
    requests = rows.take(pa.array(starts_R1[:-1]))
    sequences = [_as_of(request, events) for request in requests.select(_ASKED).to_pylist()]
    num_requests = requests.num_rows
    columns = {
        **{name: requests.column(name) for name in REQUEST_FIELDS.names if name in requests.schema.names},
        "definitions_version": pa.array([events.definitions_version] * num_requests),
        "num_events": pa.array([each.num_rows for each in sequences], pa.int32()),
        SEQUENCE: to_values(sequences),
    }
    return RequestBatch(
        pa.table(columns).select(REQUEST_FIELDS.names).cast(REQUEST_FIELDS),
        rows.select(CANDIDATE_FIELDS.names).cast(CANDIDATE_FIELDS),
        np.repeat(np.arange(num_requests, dtype=np.int64), np.diff(starts_R1)),
    )


_ASKED = ("user_id", "served_time_ms", "sequence_version")


def _as_of(request: dict[str, int | str | None], events: SequenceEvents) -> pa.RecordBatch:
    rows, times_ms, received_ms = events.of(str(request["user_id"]))
    asked = Asked(int(request["served_time_ms"] or 0), bool(request["sequence_version"]))
    places = visible(times_ms, received_ms, asked, events.sequence.window_days * DAY_MS, events.sequence.max_events)
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return rows.slice(int(places[0]), len(places))
    return rows.take(pa.array(places))
