"""Tables that batch jobs write a day at a time: a day is replaced whole, and only when its content is another."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from services.indexer.outbound.iceberg_files import delete, described, new_path, swap
from services.indexer.outbound.iceberg_tables import NAMESPACE, TABLE_PROPERTIES, create, find, translated
from services.indexer.outbound.iceberg_tokens import DAYS, token_of


@dataclass(frozen=True)
class DayTable:
    """A table whose rows have the day in `date_column`, its only partition."""

    name: str
    schema: pa.Schema
    date_column: str


@dataclass(frozen=True)
class Written:
    """Rows of a file, and a digest of what they say."""

    num_rows: int
    digest: str


Write = Callable[[Any, Mapping[str, int]], Written]
"""Writes a Parquet file of one day to a sink, its columns with these ids."""


class IcebergDays:
    """One job per table at a time; a second one is refused."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def digests(self, name: str) -> dict[str, str]:
        """Day -> digest of what the table has of it. Raises: Unavailable."""
        with translated(name):
            table = find(self._catalog, f"{NAMESPACE}.{name}")
            return _digests_of(table) if table is not None else {}

    def replace(self, kind: DayTable, day: date, write: Write) -> tuple[Written, bool]:
        """What was written and whether it changed the table: the same content again commits nothing.

        The digest is in the same snapshot as the rows, so a crash anywhere leaves the old day or the new one.
        Raises: Conflict when another writer commits meanwhile, Unavailable, whatever `write` raises.
        """
        with translated(kind.name):
            table = create(
                self._catalog, f"{NAMESPACE}.{kind.name}", kind.schema, (kind.date_column,), TABLE_PROPERTIES
            )
            path, ids = new_path(table), {field.name: field.field_id for field in table.schema().fields}
            try:
                with table.io.new_output(path).create() as sink:
                    written = write(sink, ids)
                return written, self._put(table, day, path, written)
            except BaseException:
                delete(table, [path])
                raise

    def _put(self, table: IcebergTable, day: date, path: str, written: Written) -> bool:
        digests, old = _digests_of(table), _files_of(table, day)
        if digests.get(day.isoformat(), "") == (written.digest if written.num_rows else ""):
            delete(table, [path])
            return False
        if written.num_rows:
            digests[day.isoformat()], added = written.digest, [described(table, path)]
        else:
            del digests[day.isoformat()]
            delete(table, [path])
            added = []
        swap(table, old, added, {DAYS: json.dumps(digests, sort_keys=True)})
        return True


def _digests_of(table: IcebergTable) -> dict[str, str]:
    found: dict[str, str] = json.loads(token_of(table, DAYS) or "{}")
    return found


def _files_of(table: IcebergTable, day: date) -> list[DataFile]:
    epoch_days = (day - date(1970, 1, 1)).days
    return [task.file for task in table.scan().plan_files() if task.file.partition[0] in (day, epoch_days)]
