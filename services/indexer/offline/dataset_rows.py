"""Histories and labelled requests from the lake's tables."""

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from sequences.dataset import HISTORIES, SERVED
from sequences.labels import LABELS
from services.indexer.outbound.duckdb_labels import answer, labelled_rows

_HISTORIES = """
    SELECT user_id, {lists} FROM unique_events
    WHERE pin_id <> '' GROUP BY user_id ORDER BY user_id
"""
_LISTS = {
    "event_ids": "event_id",
    "pin_ids": "pin_id",
    "event_types": "event_type",
    "event_times_ms": "event_time_ms",
    "dwell_s": "dwell_s",
    "value_micros": "value_micros",
    "ratings": "rating",
}
_IN_SERVED = ("request_id", "user_id", "surface", "served_time_ms", "pin_id", "position", "score")
_IN_TRAINING = (
    *_IN_SERVED,
    "sequence_version",
    "served_date",
    "generator",
    *(f"coalesce({name}, '') AS {name}" for name in ("subject_pin_id", "query", "locale")),
)


def histories(events: pa.Table, also: Mapping[str, str] | None = None) -> pa.Table:
    """HISTORIES of unique events that have a pin; `also` names further lists of times, and their columns."""
    columns = {**_LISTS, **(also or {})}
    lists = ", ".join(f"list({column} ORDER BY event_time_ms, event_id) AS {name}" for name, column in columns.items())
    schema = pa.schema([*HISTORIES, *((name, pa.list_(pa.int64())) for name in also or {})])
    with duckdb.connect() as connection:
        connection.register("unique_events", events)
        return answer(connection, _HISTORIES.format(lists=lists)).cast(schema)


def labelled(served: pa.Table, events: pa.Table, window_ms: int) -> pa.Table:
    """SERVED: a pin has a label when its user did so within the window after it was served.

    An event that names its request counts for that one only.
    """
    if not served.num_columns:
        return SERVED.empty_table()
    found = labelled_rows(served, events, window_ms, _IN_SERVED, "user_id, served_time_ms, request_id, position")
    return found.select([*SERVED.names[: -len(LABELS)], *LABELS]).cast(SERVED)


def labelled_candidates(served: pa.Table, events: pa.Table, window_ms: int) -> pa.Table:
    """As `labelled`, with what training rows say besides, sorted by (user id, request id, position)."""
    return labelled_rows(served, events, window_ms, _IN_TRAINING, "user_id, request_id, position, pin_id")
