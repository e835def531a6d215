"""Data files that go into a table, or out of it, by name: what appends of rows cannot do."""

from collections.abc import Mapping, Sequence
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

ROWS_PER_GROUP = 131_072


def new_path(table: IcebergTable) -> str:
    """Where a new data file of this table may be written."""
    return table.location_provider().new_data_location(f"{uuid4()}.parquet")


def write_rows(table: IcebergTable, rows: pa.Table) -> DataFile:
    """A file of these rows, which are in the table's columns; it is in no snapshot yet."""
    path, schema = new_path(table), schema_to_pyarrow(table.schema())
    with table.io.new_output(path).create() as sink:
        pq.write_table(rows.cast(schema), sink, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return described(table, path)


def described(table: IcebergTable, path: str) -> DataFile:
    """What the table has to know of a file, from the file. All its rows are in one partition."""
    return parquet_file_to_data_file(table.io, table.metadata, path)


def swap(
    table: IcebergTable, removed: Sequence[DataFile], added: Sequence[DataFile], properties: Mapping[str, str]
) -> None:
    """Both in one snapshot, or neither; files that did not get in are deleted. Raises: what the commit raises."""
    try:
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite() as change,
        ):
            for file in removed:
                change.delete_data_file(file)
            for file in added:
                change.append_data_file(file)
    except Exception:
        if not _has(table, added):  # the answer may be lost, not the commit
            delete(table, [file.file_path for file in added])
            raise


def delete(table: IcebergTable, paths: Sequence[str]) -> int:
    """How many were there."""
    count = 0
    for path in paths:
        try:
            table.io.delete(path)
            count += 1
        except FileNotFoundError:
            continue
    return count


def _has(table: IcebergTable, files: Sequence[DataFile]) -> bool:
    paths = {task.file.file_path for task in table.refresh().scan().plan_files()}
    return bool(files) and all(file.file_path in paths for file in files)
