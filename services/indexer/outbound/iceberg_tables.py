"""Makes an Iceberg table fit the rows that are to be appended, and names its errors in the project's words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThan,
    Reference,
)
from pyiceberg.table import DataScan
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform
from sqlalchemy.exc import SQLAlchemyError

from chassis.errors import Conflict, Invalid, NotFound, Unavailable

NAMESPACE = "corkboard"
MAX_NAMED = 20  # snapshots in an error
TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    "write.parquet.dict-size-bytes": str(64 * 1024 * 1024),  # long repeated values stay in the dictionary
    "write.metadata.delete-after-commit.enabled": "true",  # each commit writes all metadata anew
    "write.metadata.previous-versions-max": "100",
    "commit.retry.num-retries": "0",  # a retry would commit what was worked out on an older snapshot
}


def among(column: str, values: Sequence[str] | None) -> BooleanExpression:
    """Rows whose column has one of these values; None is every row."""
    return AlwaysTrue() if values is None else In(term=Reference(column), literals=list(values))


def between(column: str, since_ms: int, until_ms: int | None) -> BooleanExpression:
    """Rows of [since, until); without an end, all since then."""
    since = GreaterThanOrEqual(term=Reference(column), value=since_ms)
    return since if until_ms is None else And(since, LessThan(term=Reference(column), value=until_ms))


def find(catalog: Catalog, name: str) -> IcebergTable | None:
    """The table as its newest metadata has it; None when it was never made."""
    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        return None


def at(catalog: Catalog, name: str, snapshot_id: int | None = None) -> DataScan:
    """Everything in the table of this name at a snapshot, by default the newest. Raises: NotFound."""
    table = find(catalog, f"{NAMESPACE}.{name}")
    if table is None:
        raise NotFound(f"the lake has no table {name!r} yet", field="table", reason="unknown_table")
    if snapshot_id is not None and table.snapshot_by_id(snapshot_id) is None:
        kept = sorted(table.snapshots(), key=lambda each: each.timestamp_ms, reverse=True)
        raise NotFound(
            f"snapshot {snapshot_id} of table {name} has expired or never was; "
            f"there are: {', '.join(str(each.snapshot_id) for each in kept[:MAX_NAMED])}",
            field="snapshot",
            reason="expired_snapshot",
        )
    return table.scan(snapshot_id=snapshot_id)


def create(
    catalog: Catalog, name: str, schema: pa.Schema, partitions: Sequence[str], properties: Mapping[str, str]
) -> IcebergTable:
    """The table, made when it is not there. Partitions come before data; a crash in between is made good here."""
    catalog.create_namespace_if_not_exists(name.split(".")[0])
    made = catalog.create_table_if_not_exists(name, schema=schema, properties=dict(properties))
    if not made.spec().fields:
        with made.update_spec() as spec:
            for column in partitions:
                spec.add_field(column, IdentityTransform(), f"{column}_partition")
    return catalog.load_table(name)


def widened(table: IcebergTable, schema: pa.Schema) -> IcebergTable:
    """The table with every column of `schema`; values that are there keep theirs. Raises: ValueError for a new type."""
    if any(name not in table.schema().as_arrow().names for name in schema.names):
        with table.update_schema() as update:
            update.union_by_name(schema)
    return table


def fitting(table: IcebergTable, rows: pa.Table) -> pa.Table:
    """The rows in the columns and order of the table; what they lack is null."""
    known = table.schema().as_arrow()
    for field in known:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows.select(known.names)


def optional(schema: pa.Schema) -> pa.Schema:
    """The schema with every column nullable, so that later versions may leave one out."""
    return pa.schema([field.with_nullable(True).remove_metadata() for field in schema])


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Errors of pyiceberg and of what is under it. Raises: Conflict, Unavailable, Invalid."""
    try:
        yield
    except CommitFailedException as error:
        raise Conflict(f"table {name}: {error}", reason="two_writers") from error
    except (OSError, SQLAlchemyError, RESTError) as error:
        raise Unavailable(f"table {name}: {error}", reason="lake_unavailable") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise Invalid(f"table {name} cannot hold these rows: {error}", reason="bad_rows") from error
