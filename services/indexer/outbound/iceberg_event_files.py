"""The data files of the stream's events, read a few at a time from one snapshot: what a backfill goes through."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, LessThan, Reference
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from chassis.errors import NotFound
from protos.event_schema import ACCEPTED
from services.indexer.domain.lake_rows import Table
from services.indexer.domain.watermark import Run
from services.indexer.outbound.iceberg_tables import NAMESPACE, find, translated


@dataclass(frozen=True)
class EventFiles:
    """Files of one run, always in the same order. `num_rows` of each is an upper bound."""

    num_rows: tuple[int, ...]
    tasks: tuple[FileScanTask, ...]


class IcebergEventFiles:
    """Reads what ingest accepted, without what enrichments added."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def snapshot_id(self) -> int | None:
        """The newest snapshot of the stream's events; None without any. Raises: Unavailable."""
        with translated(Table.EVENTS.table_name):
            table = find(self._catalog, f"{NAMESPACE}.{Table.EVENTS.table_name}")
            snapshot = table.current_snapshot() if table is not None else None
            return snapshot.snapshot_id if snapshot is not None else None

    def has_snapshot(self, snapshot_id: int) -> bool:
        """Whether it can still be read. Raises: Unavailable."""
        with translated(Table.EVENTS.table_name):
            return self._load().snapshot_by_id(snapshot_id) is not None

    def of(self, run: Run) -> EventFiles:
        """Every file that may hold events of the run, oldest partition first. Raises: Unavailable."""
        with translated(Table.EVENTS.table_name):
            scan = self._load().scan(_range_of(run), snapshot_id=run.source_snapshot_id)
            tasks = sorted(scan.plan_files(), key=lambda task: (task.file.partition[0], task.file.file_path))
            return EventFiles(tuple(task.file.record_count for task in tasks), tuple(tasks))

    def read(self, run: Run, tasks: Sequence[FileScanTask]) -> pa.Table:
        """Events of the run in these files, in the columns of ACCEPTED. Raises: Unavailable."""
        with translated(Table.EVENTS.table_name):
            table = self._load()
            projected = table.schema().select(*ACCEPTED.names, case_sensitive=True)
            scan = ArrowScan(table.metadata, table.io, projected, _range_of(run))
            return scan.to_table(tasks).select(ACCEPTED.names).cast(ACCEPTED)

    def _load(self) -> IcebergTable:
        found = find(self._catalog, f"{NAMESPACE}.{Table.EVENTS.table_name}")
        if found is None:
            raise NotFound("the lake holds no events yet", reason="no_events")
        return found


def _range_of(run: Run) -> BooleanExpression:
    """Bounds of types and times in the manifests decide which files are read."""
    return And(
        EqualTo(term=Reference("event_type"), value=run.event_type),
        And(
            GreaterThanOrEqual(term=Reference("event_time_ms"), value=run.from_ms),
            LessThan(term=Reference("event_time_ms"), value=run.until_ms),
        ),
    )
