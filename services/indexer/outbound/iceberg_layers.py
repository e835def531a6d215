"""Reads both layers of events: what the stream appended, and what published backfills made of it."""

from collections.abc import Sequence

import pyarrow as pa
from pyiceberg.catalog import Catalog

from chassis.errors import Invalid
from services.indexer.domain.lake_rows import Table
from services.indexer.domain.layers import BATCH_COLUMNS, IS_LATE, RUN_ID, Layers
from services.indexer.domain.merge import IS_FILTERED, Parts
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_tables import NAMESPACE, among, find, translated


def read_layers(catalog: Catalog, columns: Sequence[str] | None, event_types: Sequence[str] | None) -> Layers:
    """As the port says. Each layer is of one snapshot; whatever is between them is in the stream's."""
    wanted = None if columns is None else [*columns, IS_FILTERED]
    batch, state = IcebergBackfills(catalog).read(wanted, event_types)
    with translated(Table.EVENTS.table_name):
        table = find(catalog, f"{NAMESPACE}.{Table.EVENTS.table_name}")
        if table is None:
            return Layers(Parts(pa.table({}), pa.table({})), state)
        known = table.schema().as_arrow()
        selected = tuple(known.names if columns is None else [name for name in columns if name in known.names])
        stream = table.scan(among("event_type", event_types), selected_fields=selected).to_arrow().select(selected)
    if batch is None:
        batch = pa.schema([*stream.schema, *BATCH_COLUMNS[:1]]).empty_table()
    _check(columns, (stream, batch))
    return Layers(Parts(stream, batch.drop_columns([n for n in (IS_LATE, RUN_ID) if n in batch.schema.names])), state)


def _check(columns: Sequence[str] | None, parts: Sequence[pa.Table]) -> None:
    known = {name for part in parts for name in part.schema.names}
    unknown = sorted(set(columns or ()) - known)
    if unknown:
        raise Invalid(f"events have no columns {', '.join(unknown)}", field="columns", reason="unknown_column")
