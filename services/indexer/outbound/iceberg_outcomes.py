"""Shown pins and what became of them, from the lake's newest rows."""

import pyarrow as pa

from services.indexer.domain.lake_rows import Table
from services.indexer.domain.reliability import SHOWN
from services.indexer.outbound.duckdb_labels import LABEL_BY_TYPE, labelled_rows, unique_events
from services.indexer.outbound.iceberg_lake import IcebergLake

FEED_COLUMNS = (
    *("request_id", "user_id", "surface", "served_time_ms", "pin_id", "position"),
    *("score_by_head", "versions"),
)
EVENT_COLUMNS = (
    *("user_id", "event_id", "event_type", "event_time_ms", "pin_id", "request_id"),
    *("enriched_time_ms", "definitions_version"),
)


class IcebergOutcomes:
    """Outcomes over `feeds_served` and `events_enriched`."""

    def __init__(self, lake: IcebergLake) -> None:
        self._lake = lake

    def known_until_ms(self) -> int:
        newest = [
            max((each.newest_time_ms for each in self._lake.coverage(table).values()), default=0)
            for table in (Table.FEEDS, Table.EVENTS)
        ]
        return min(newest)

    def between(self, since_ms: int, until_ms: int, window_ms: int) -> pa.Table:
        served = self._lake.stream(Table.FEEDS, since_ms, until_ms, columns=FEED_COLUMNS)
        rows = served.read_all() if served is not None else None
        if rows is None or not rows.num_rows:
            return pa.schema([*SHOWN, *((label, pa.bool_()) for label in LABEL_BY_TYPE.values())]).empty_table()
        happened = self._lake.stream(
            Table.EVENTS, since_ms, until_ms + window_ms + 1, list(LABEL_BY_TYPE), columns=EVENT_COLUMNS
        )
        events = unique_events(happened.read_all() if happened is not None else pa.table({}))
        columns = (*SHOWN.names, "user_id", "request_id", "pin_id", "served_time_ms")
        found = labelled_rows(rows, events, window_ms, columns, "served_time_ms, request_id, pin_id")
        return found.select([*SHOWN.names, *LABEL_BY_TYPE.values()])
