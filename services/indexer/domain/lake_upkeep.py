"""Which files of a table to merge and which snapshots to let go."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class UpkeepLimits:
    """Files below `small_bytes` are merged, from `min_files` in a partition on; what comes out is read and written in
    one piece of at most `target_bytes` and `target_rows`. Snapshots that are younger than `keep_s` or among the newest
    `keep_snapshots` stay.
    """

    small_bytes: int = 32 * MIB
    target_bytes: int = 128 * MIB  # on disk; about a gigabyte in memory
    target_rows: int = 1_000_000
    min_files: int = 8
    keep_snapshots: int = 20
    keep_s: float = 3_600.0  # longer than anybody reads one snapshot


@dataclass(frozen=True)
class DataFile:
    """A file of a table, in one partition."""

    path: str
    partition: Hashable
    num_bytes: int
    num_rows: int


@dataclass(frozen=True)
class SnapshotAge:
    """A snapshot and when it was made."""

    snapshot_id: int
    time_ms: int


@dataclass(frozen=True)
class Compacted:
    """What merging did to one table."""

    num_files_before: int = 0
    num_files_after: int = 0
    num_rows: int = 0


@dataclass(frozen=True)
class Expired:
    """What expiry took from one table."""

    num_snapshots: int = 0
    num_files: int = 0


@dataclass(frozen=True)
class TableFacts:
    """A table at its newest snapshot (None before the first); `snapshots` are those that can be read, newest first."""

    name: str
    snapshot_id: int | None
    num_rows: int
    num_files: int
    num_small_files: int
    num_bytes: int
    snapshots: tuple[SnapshotAge, ...]


def groups_to_merge(files: Sequence[DataFile], limits: UpkeepLimits) -> list[list[DataFile]]:
    """Small files of one partition, each group of a size that is written in one piece; no file is in two groups."""
    small: dict[Hashable, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.num_bytes < limits.small_bytes:
            small[file.partition].append(file)
    groups = [group for found in small.values() for group in _packed(found, limits)]
    return [group for group in groups if len(group) >= limits.min_files]


def _packed(files: Sequence[DataFile], limits: UpkeepLimits) -> list[list[DataFile]]:
    groups: list[list[DataFile]] = [[]]
    num_bytes = num_rows = 0
    for file in sorted(files, key=lambda each: (each.num_bytes, each.path)):
        num_bytes, num_rows = num_bytes + file.num_bytes, num_rows + file.num_rows
        if groups[-1] and (num_bytes > limits.target_bytes or num_rows > limits.target_rows):
            groups.append([])
            num_bytes, num_rows = file.num_bytes, file.num_rows
        groups[-1].append(file)
    return groups


def snapshots_to_expire(
    snapshots: Sequence[SnapshotAge], kept_ids: Collection[int], limits: UpkeepLimits, now_ms: int
) -> list[int]:
    """Those that are old, not among the newest, and not in `kept_ids`."""
    by_age = sorted(snapshots, key=lambda each: each.time_ms, reverse=True)[max(1, limits.keep_snapshots) :]
    oldest_ms = now_ms - int(limits.keep_s * 1000)
    return [each.snapshot_id for each in by_age if each.time_ms < oldest_ms and each.snapshot_id not in kept_ids]
