"""Histories and labelled requests from the lake's tables."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from sequences.dataset import HISTORIES, SERVED
from sequences.labels import LABELS

LABEL_BY_TYPE: Mapping[str, str] = {
    "click": "clicked",
    "save": "saved",
    "hide": "hidden",
    "long_view": "long_viewed",
    "share": "shared",
    "conversion": "converted",
}
_UNIQUE = """
    SELECT * FROM events
    QUALIFY row_number() OVER (
        PARTITION BY user_id, event_type, event_id ORDER BY enriched_time_ms DESC, definitions_version DESC
    ) = 1
"""
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
_SERVED = """
    WITH unique_served AS (
        SELECT DISTINCT ON (user_id, request_id, pin_id) {columns}
        FROM served ORDER BY user_id, request_id, pin_id, position
    )
    SELECT s.*, {labels} FROM unique_served s LEFT JOIN unique_events e
        ON e.user_id = s.user_id AND e.pin_id = s.pin_id
        AND e.event_time_ms BETWEEN s.served_time_ms AND s.served_time_ms + $window_ms
        AND (e.request_id = '' OR e.request_id = s.request_id)
    GROUP BY ALL ORDER BY {order}
"""
_IN_SERVED = ("request_id", "user_id", "surface", "served_time_ms", "pin_id", "position", "score")
_IN_TRAINING = (
    *_IN_SERVED,
    "sequence_version",
    "served_date",
    "generator",
    *(f"coalesce({name}, '') AS {name}" for name in ("subject_pin_id", "query", "locale")),
)


def unique_events(events: pa.Table) -> pa.Table:
    """One row per (user, event type, event id): the one enriched last."""
    with duckdb.connect() as connection:
        connection.register("events", with_columns(events))
        return _answer(connection, _UNIQUE)


def histories(events: pa.Table, also: Mapping[str, str] | None = None) -> pa.Table:
    """HISTORIES of unique events that have a pin; `also` names further lists of times, and their columns."""
    columns = {**_LISTS, **(also or {})}
    lists = ", ".join(f"list({column} ORDER BY event_time_ms, event_id) AS {name}" for name, column in columns.items())
    schema = pa.schema([*HISTORIES, *((name, pa.list_(pa.int64())) for name in also or {})])
    with duckdb.connect() as connection:
        connection.register("unique_events", events)
        return _answer(connection, _HISTORIES.format(lists=lists)).cast(schema)


def labelled(served: pa.Table, events: pa.Table, window_ms: int) -> pa.Table:
    """SERVED: a pin has a label when its user did so within the window after it was served.

    An event that names its request counts for that one only.
    """
    if not served.num_columns:
        return SERVED.empty_table()
    found = _labelled(served, events, window_ms, _IN_SERVED, "user_id, served_time_ms, request_id, position")
    return found.select([*SERVED.names[: -len(LABELS)], *LABELS]).cast(SERVED)


def labelled_candidates(served: pa.Table, events: pa.Table, window_ms: int) -> pa.Table:
    """As `labelled`, with what training rows say besides, sorted by (user id, request id, position)."""
    return _labelled(served, events, window_ms, _IN_TRAINING, "user_id, request_id, position, pin_id")


def _labelled(served: pa.Table, events: pa.Table, window_ms: int, columns: Sequence[str], order: str) -> pa.Table:
    labels = ", ".join(
        f"coalesce(bool_or(e.event_type = '{event_type}'), false) AS {label}"
        for event_type, label in LABEL_BY_TYPE.items()
    )
    query = _SERVED.format(columns=", ".join(columns), labels=labels, order=order)
    with duckdb.connect() as connection:
        connection.register("unique_events", events)
        connection.register("served", served)
        return _answer(connection, query, {"window_ms": window_ms})


def _answer(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, int] | None = None) -> pa.Table:
    return connection.sql(query, params=parameters).to_arrow_table()


def with_columns(events: pa.Table) -> pa.Table:
    """The events with every column that the queries name; absent ones are null."""
    needed = {
        **dict.fromkeys(
            ("user_id", "event_id", "event_type", "pin_id", "request_id", "definitions_version"), pa.string()
        ),
        **dict.fromkeys(("event_time_ms", "enriched_time_ms", "value_micros"), pa.int64()),
        **dict.fromkeys(("dwell_s", "rating"), pa.float32()),
    }
    for name, kind in needed.items():
        if name not in events.schema.names:
            events = events.append_column(name, pa.nulls(events.num_rows, kind))
    return events.select(list(needed))
