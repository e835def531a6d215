"""Merges small files and lets old snapshots go; what a table says, and what its tokens say, stays the same.

Nobody else may commit meanwhile: the committer does this between its own commits, and whoever runs it by hand is
refused when a commit comes in between. Readers keep what they read: a file goes with the last snapshot that has it.
"""

from collections.abc import Collection, Iterable, Sequence

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot

from chassis.errors import NotFound
from services.indexer.domain.lake_rows import Table
from services.indexer.domain.lake_upkeep import (
    Compacted,
    DataFile,
    Expired,
    SnapshotAge,
    TableFacts,
    UpkeepLimits,
    groups_to_merge,
    snapshots_to_expire,
)
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_files import delete, swap, write_rows
from services.indexer.outbound.iceberg_tables import NAMESPACE, find, translated
from services.indexer.outbound.iceberg_tokens import TOKENS, UPKEEP, carried, holder_of

FILLED_BY_TOPICS = {table.table_name: table for table in Table}


class IcebergUpkeep:
    """Of every table in the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def names(self) -> list[str]:
        """Tables that are there, sorted. Raises: Unavailable."""
        with translated("catalog"):
            if not self._catalog.namespace_exists(NAMESPACE):
                return []
            return sorted(name for _, name in self._catalog.list_tables(NAMESPACE))

    def facts(self, name: str, limits: UpkeepLimits) -> TableFacts:
        """Raises: NotFound, Unavailable."""
        with translated(name):
            table = self._load(name)
            files, snapshot = _files(table), table.current_snapshot()
            return TableFacts(
                name,
                snapshot.snapshot_id if snapshot is not None else None,
                sum(file.num_rows for file in files),
                len(files),
                sum(file.num_bytes < limits.small_bytes for file in files),
                sum(file.num_bytes for file in files),
                tuple(sorted(_ages(table), key=lambda each: each.time_ms, reverse=True)),
            )

    def compact(self, name: str, limits: UpkeepLimits) -> Compacted:
        """Merge small files, a commit for each group; only of tables that topics fill, the others are written whole.

        Raises: NotFound, Conflict when another writer commits meanwhile, Unavailable.
        """
        with translated(name):
            files = _files(self._load(name))
            groups = groups_to_merge(files, limits) if name in FILLED_BY_TOPICS else []
            num_rows = sum(self._merge(FILLED_BY_TOPICS[name], group) for group in groups)
        return Compacted(sum(len(group) for group in groups), len(groups), num_rows)

    def expire(self, name: str, limits: UpkeepLimits, now_ms: int) -> Expired:
        """Forget old snapshots, then delete the files that only they had.

        Raises: NotFound, Conflict when another writer commits meanwhile, Unavailable.
        """
        with translated(name):
            table = self._load(name)
            gone = snapshots_to_expire(_ages(table), self._kept_ids(name, table), limits, now_ms)
            if not gone:
                return Expired()
            theirs = _paths(table, [each for each in table.snapshots() if each.snapshot_id in gone])
            table.maintenance.expire_snapshots().by_ids(gone).commit()
            table.refresh()
            return Expired(len(gone), delete(table, sorted(theirs - _paths(table, table.snapshots()))))

    def _merge(self, kind: Table, group: Sequence[DataFile]) -> int:
        """One group, one commit; returns its rows."""
        table, paths = self._load(kind.table_name), {file.path for file in group}
        tasks = [task for task in table.scan().plan_files() if task.file.file_path in paths]
        rows = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue()).to_table(tasks)
        rows = rows.sort_by([(column, "ascending") for column in kind.sort_columns])
        swap(table, [task.file for task in tasks], [write_rows(table, rows)], {UPKEEP: "compact", **carried(table)})
        return int(rows.num_rows)

    def _kept_ids(self, name: str, table: IcebergTable) -> Collection[int]:
        """Snapshots that somebody needs whatever their age: branches, tokens, and what a backfill is reading."""
        kept = {ref.snapshot_id for ref in table.refs().values()}
        kept |= {holder.snapshot_id for token in TOKENS if (holder := holder_of(table, token)) is not None}
        if name == Table.EVENTS.table_name:
            open_runs = IcebergBackfills(self._catalog).state().open_runs
            kept |= {run.source_snapshot_id for run in open_runs.values()}
        return kept

    def _load(self, name: str) -> IcebergTable:
        found = find(self._catalog, f"{NAMESPACE}.{name}")
        if found is None:
            known = ", ".join(self.names()) or "none yet"
            raise NotFound(f"the lake has no table {name!r}; it has: {known}", field="table", reason="unknown_table")
        return found


def _files(table: IcebergTable) -> list[DataFile]:
    return [_file(task) for task in table.scan().plan_files()]


def _file(task: FileScanTask) -> DataFile:
    partition = tuple(task.file.partition[place] for place in range(len(task.file.partition)))
    return DataFile(task.file.file_path, partition, task.file.file_size_in_bytes, task.file.record_count)


def _ages(table: IcebergTable) -> list[SnapshotAge]:
    return [SnapshotAge(each.snapshot_id, each.timestamp_ms) for each in table.snapshots()]


def _paths(table: IcebergTable, snapshots: Iterable[Snapshot]) -> set[str]:
    """Data files, manifests and lists of manifests of these snapshots."""
    found, manifests = set(), {}
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        manifests.update({each.manifest_path: each for each in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        found.add(path)
        found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return found
