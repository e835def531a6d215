"""The lake as Apache Iceberg tables through pyiceberg."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform
from sqlalchemy.exc import SQLAlchemyError

from chassis.errors import Conflict, Invalid, Unavailable
from services.indexer.domain.lake_rows import Coverage, Covered, Table

NAMESPACE = "corkboard"
COVERAGE = "corkboard.kafka-coverage"
TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    "write.parquet.dict-size-bytes": str(64 * 1024 * 1024),  # long repeated values stay in the dictionary
    "commit.retry.num-retries": "0",  # a retry would append although another writer has been there
}


class IcebergLake:
    """A snapshot carries the Kafka coverage of all it contains, so data and offsets are one commit."""

    def __init__(self, folder: str, properties: Mapping[str, str] | None = None) -> None:
        self._folder = Path(folder).absolute()
        self._properties = dict(properties or {})
        self._catalog: Catalog | None = None
        self._seen: dict[Table, int | None] = {}

    def coverage(self, table: Table) -> Coverage:
        with _translated(table):
            found = self._load(table)
            self._seen[table] = _snapshot_id(found)
            return _coverage_of(found) if found is not None else {}

    def append(self, table: Table, rows: pa.Table, coverage: Coverage) -> None:
        rows = _optional(rows)
        with _translated(table):
            found = self._load(table) or self._create(table, rows.schema)
            if _snapshot_id(found) != self._seen.get(table):
                raise Conflict(f"table {table.table_name} has a snapshot of another writer", reason="two_writers")
            fitting = self._fit(found, rows)
            try:
                found.append(fitting, snapshot_properties={COVERAGE: _to_json(coverage)})
            except Exception:
                if self._is_committed(table, coverage):  # the answer was lost, not the commit
                    return
                raise

    def read(self, table: Table) -> pa.Table:
        with _translated(table):
            found = self._load(table)
            return found.scan().to_arrow() if found is not None else pa.table({})

    def metadata_path(self, table: Table) -> str | None:
        """Where the newest metadata of a table is; None when there is no table."""
        with _translated(table):
            found = self._load(table)
            return found.metadata_location if found is not None else None

    def _is_committed(self, table: Table, coverage: Coverage) -> bool:
        found = self._load(table)
        return found is not None and _coverage_of(found) == coverage

    def _load(self, table: Table) -> IcebergTable | None:
        try:
            return self._open().load_table(f"{NAMESPACE}.{table.table_name}")
        except NoSuchTableError:
            return None

    def _create(self, table: Table, schema: pa.Schema) -> IcebergTable:
        """Partitions before data; a crash in between leaves a table without them, which is made good here."""
        catalog = self._open()
        catalog.create_namespace_if_not_exists(NAMESPACE)
        name = f"{NAMESPACE}.{table.table_name}"
        made = catalog.create_table_if_not_exists(name, schema=schema, properties=TABLE_PROPERTIES)
        if not made.spec().fields:
            with made.update_spec() as spec:
                for column in table.partitions:
                    spec.add_field(column, IdentityTransform(), f"{column}_partition")
        return catalog.load_table(name)

    def _fit(self, found: IcebergTable, rows: pa.Table) -> pa.Table:
        """Adds new columns to the table, and columns that these rows lack to the rows."""
        known = found.schema().as_arrow()
        if any(name not in known.names for name in rows.schema.names):
            with found.update_schema() as update:
                update.union_by_name(rows.schema)
            known = found.schema().as_arrow()
        for field in known:
            if field.name not in rows.schema.names:
                rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
        return rows.select(known.names)

    def _open(self) -> Catalog:
        if self._catalog is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            defaults = {
                "type": "sql",
                "uri": f"sqlite:///{self._folder / 'catalog.db'}",
                "warehouse": (self._folder / "warehouse").as_uri(),
                "init_catalog_tables": "true",
            }
            self._catalog = load_catalog("corkboard", **(defaults | self._properties))
        return self._catalog


def _coverage_of(table: IcebergTable) -> Coverage:
    """Of the newest snapshot that says so: compaction and expiry make snapshots that say nothing."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        stored = snapshot.summary[COVERAGE] if snapshot.summary is not None else None
        if stored:
            return {int(partition): Covered(*each) for partition, each in json.loads(stored).items()}
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return {}


def _to_json(coverage: Coverage) -> str:
    return json.dumps({str(partition): [each.next_offset, each.newest_time_ms] for partition, each in coverage.items()})


def _snapshot_id(table: IcebergTable | None) -> int | None:
    snapshot = table.current_snapshot() if table is not None else None
    return snapshot.snapshot_id if snapshot is not None else None


def _optional(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([field.with_nullable(True).remove_metadata() for field in rows.schema]))


@contextmanager
def _translated(table: Table) -> Iterator[None]:
    try:
        yield
    except CommitFailedException as error:
        raise Conflict(f"table {table.table_name}: {error}", reason="two_writers") from error
    except (OSError, SQLAlchemyError, RESTError) as error:
        raise Unavailable(f"table {table.table_name}: {error}", reason="lake_unavailable") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise Invalid(f"table {table.table_name} cannot hold these rows: {error}", reason="bad_rows") from error
