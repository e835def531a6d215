"""What people did with what they were shown, by DuckDB over Arrow tables: one attribution for all readers."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

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


def unique_events(events: pa.Table) -> pa.Table:
    """One row per (user, event type, event id): the one enriched last."""
    with duckdb.connect() as connection:
        connection.register("events", with_columns(events))
        return answer(connection, _UNIQUE)


def labelled_rows(served: pa.Table, events: pa.Table, window_ms: int, columns: Sequence[str], order: str) -> pa.Table:
    """These columns of each served pin once, and LABELS: whether its user did so within the window after it was served.

    An event that names its request counts for that one only; `events` are unique ones.
    """
    labels = ", ".join(
        f"coalesce(bool_or(e.event_type = '{event_type}'), false) AS {label}"
        for event_type, label in LABEL_BY_TYPE.items()
    )
    query = _SERVED.format(columns=", ".join(columns), labels=labels, order=order)
    with duckdb.connect() as connection:
        connection.register("unique_events", events)
        connection.register("served", served)
        return answer(connection, query, {"window_ms": window_ms})


def answer(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, int] | None = None) -> pa.Table:
    """The rows of one query."""
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
