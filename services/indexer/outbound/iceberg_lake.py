"""The lake as Apache Iceberg tables through pyiceberg: what the one committer writes, and what readers read of it."""

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table as IcebergTable

from chassis.errors import Conflict, Invalid
from services.indexer.domain.lake_rows import FEED_COLUMNS, Coverage, Table
from services.indexer.domain.layers import Layers
from services.indexer.outbound.iceberg_catalog import open_catalog
from services.indexer.outbound.iceberg_layers import read_layers
from services.indexer.outbound.iceberg_tables import (
    NAMESPACE,
    TABLE_PROPERTIES,
    among,
    at,
    between,
    create,
    find,
    fitting,
    optional,
    translated,
    widened,
)
from services.indexer.outbound.iceberg_tokens import coverage_of, coverage_token, is_same_but_for_upkeep


class IcebergLake:
    """A snapshot carries the Kafka coverage of all it contains, so data and offsets are one commit."""

    def __init__(self, folder: str, properties: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._properties = dict(properties or {})
        self._catalog: Catalog | None = None
        self._seen: dict[Table, int | None] = {}

    def reader(self) -> "IcebergLake":
        """The same lake for somebody who only reads: what a writer has seen of a table is its own."""
        return IcebergLake(self._folder, self._properties)

    def coverage(self, table: Table) -> Coverage:
        with translated(table.table_name):
            found = self._find(table)
            self._seen[table] = _snapshot_id(found)
            return coverage_of(found) if found is not None else {}

    def append(self, table: Table, rows: pa.Table, coverage: Coverage) -> None:
        rows = rows.cast(optional(rows.schema))
        with translated(table.table_name):
            found = self._find(table) or self._create(table, rows.schema)
            if not is_same_but_for_upkeep(found, self._seen.get(table)):
                raise Conflict(f"table {table.table_name} has a snapshot of another writer", reason="two_writers")
            try:
                widened(found, rows.schema).append(fitting(found, rows), snapshot_properties=coverage_token(coverage))
            except Exception:
                if self._is_committed(table, coverage):  # the answer was lost, not the commit
                    return
                raise

    def read(self, table: Table) -> pa.Table:
        with translated(table.table_name):
            found = self._find(table)
            return found.scan().to_arrow() if found is not None else pa.table({})

    def read_at(self, name: str, snapshot_id: int) -> pa.Table:
        """A table by name as a snapshot has it. Raises: NotFound when it has expired or never was, Unavailable."""
        with translated(name):
            return at(self.catalog, name, snapshot_id).to_arrow()

    def files(self, name: str, snapshot_id: int | None = None) -> tuple[pa.Schema, list[str]]:
        """Columns of a table and where its Parquet files are, at a snapshot or the newest. Raises: NotFound."""
        with translated(name):
            scan = at(self.catalog, name, snapshot_id)
            tasks = list(scan.plan_files())
            if any(task.delete_files for task in tasks):
                raise Invalid(f"table {name} has delete files, which are not understood here", reason="delete_files")
            return schema_to_pyarrow(scan.projection()), [task.file.file_path for task in tasks]

    def served_on(self, day: date) -> pa.Table:
        """Served pins of a day (UTC); no rows without any."""
        with translated(Table.FEEDS.table_name):
            found = self._find(Table.FEEDS)
            if found is None:
                return FEED_COLUMNS.empty_table()
            return found.scan(f"{Table.FEEDS.date_column} = '{day.isoformat()}'").to_arrow()

    def stream(
        self,
        table: Table,
        since_ms: int,
        until_ms: int | None = None,
        event_types: Sequence[str] | None = None,
        columns: Sequence[str] = ("*",),
    ) -> pa.RecordBatchReader | None:
        """The rows of [since, until), file by file and not all in memory; None when there is no table."""
        with translated(table.table_name):
            found = self._find(table)
            if found is None:
                return None
            wanted = And(between(table.time_column, since_ms, until_ms), among("event_type", event_types))
            return found.scan(wanted, selected_fields=tuple(columns)).to_arrow_batch_reader()

    def event_layers(self, columns: Sequence[str] | None = None, event_types: Sequence[str] | None = None) -> Layers:
        return read_layers(self.catalog, columns, event_types)

    @property
    def catalog(self) -> Catalog:
        """The open catalog, for those who keep other tables in it. Raises: Unavailable."""
        if self._catalog is None:
            with translated("catalog"):
                self._catalog = open_catalog(self._folder, self._properties)
        return self._catalog

    def metadata_path(self, table: Table) -> str | None:
        """Where the newest metadata of a table is; None when there is no table."""
        with translated(table.table_name):
            found = self._find(table)
            return found.metadata_location if found is not None else None

    def _is_committed(self, table: Table, coverage: Coverage) -> bool:
        found = self._find(table)
        return found is not None and coverage_of(found) == coverage

    def _find(self, table: Table) -> IcebergTable | None:
        return find(self.catalog, f"{NAMESPACE}.{table.table_name}")

    def _create(self, table: Table, schema: pa.Schema) -> IcebergTable:
        return create(self.catalog, f"{NAMESPACE}.{table.table_name}", schema, table.partitions, TABLE_PROPERTIES)


def _snapshot_id(table: IcebergTable | None) -> int | None:
    snapshot = table.current_snapshot() if table is not None else None
    return snapshot.snapshot_id if snapshot is not None else None
