"""What the snapshots of a table say about where its rows came from, so that nothing is written twice.

Rows and token are one commit. Each token is of everything in the table, not of one commit, so the newest is enough; a
snapshot that only lays rows out anew carries it on.
"""

import json
from collections.abc import Iterator

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot

from services.indexer.domain.lake_rows import Coverage, Covered

COVERAGE = "corkboard.kafka-coverage"
DAYS = "corkboard.days"
UPKEEP = "corkboard.upkeep"
TOKENS = (COVERAGE, DAYS)


def coverage_of(table: IcebergTable) -> Coverage:
    """Kafka partition -> what the table has of it."""
    stored = token_of(table, COVERAGE)
    return {int(partition): Covered(*each) for partition, each in json.loads(stored).items()} if stored else {}


def coverage_token(coverage: Coverage) -> dict[str, str]:
    """What a snapshot says for `coverage_of` to read."""
    parts = {str(partition): [each.next_offset, each.newest_time_ms] for partition, each in coverage.items()}
    return {COVERAGE: json.dumps(parts)}


def token_of(table: IcebergTable, name: str) -> str:
    """The newest token of this name; "" without one."""
    found = holder_of(table, name)
    return _value(found, name) if found is not None else ""


def holder_of(table: IcebergTable, name: str) -> Snapshot | None:
    """The newest snapshot that has this token; it must not expire."""
    return next((each for each in ancestors(table) if _value(each, name)), None)


def carried(table: IcebergTable) -> dict[str, str]:
    """The tokens that a snapshot with the same rows has to have."""
    return {name: found for name in TOKENS if (found := token_of(table, name))}


def is_same_but_for_upkeep(table: IcebergTable, snapshot_id: int | None) -> bool:
    """Whether what came after this snapshot (None: before any) only laid its rows out anew."""
    for each in ancestors(table):
        if each.snapshot_id == snapshot_id:
            return True
        if not _value(each, UPKEEP):
            return False
    return snapshot_id is None


def ancestors(table: IcebergTable) -> Iterator[Snapshot]:
    """From the newest snapshot back to the oldest that has not expired."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None


def _value(snapshot: Snapshot, name: str) -> str:
    return (snapshot.summary[name] if snapshot.summary is not None else None) or ""
