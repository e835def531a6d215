"""The one committer of the lake: gathers records, writes each table seldom, answers when they are in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid, Verdict
from chassis.logs import get_logger
from chassis.metrics import Metrics
from services.indexer.domain.lake_rows import LakeRecord, Table, dated, extended, is_covered
from services.indexer.ports import Lake

log = get_logger(__name__)


@dataclass(frozen=True)
class CommitLimits:
    """A commit happens when the oldest record is so old, or so much has been gathered."""

    interval_s: float
    num_bytes: int
    num_events: int


@dataclass(eq=False)
class _Waiting:
    table: Table
    records: Sequence[LakeRecord]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class LakeWriter:
    """`add` returns when its records are committed, so a Kafka offset never passes its effect.

    What a snapshot covers is written with it, and records it covers are left out: a crash between the commit here
    and Kafka's appends nothing twice.
    """

    name = "lake writer"

    def __init__(self, lake: Lake, limits: CommitLimits, clock: Clock, metrics: Metrics) -> None:
        self._lake = lake
        self._limits = limits
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._first_at_s = 0.0
        self._wake = asyncio.Event()
        self._committing = asyncio.Lock()
        self._is_draining = False
        self._hurried_until_s = 0.0
        self._rows = metrics.counter("lake_rows_total", "Rows by what became of them.", ("table", "outcome"))
        self._seconds = metrics.histogram("lake_commit_seconds", "Time to commit one table.", ("table",))

    async def add(self, table: Table, records: Sequence[LakeRecord]) -> None:
        """Raises: what the commit raised; after Unavailable and Conflict the same records may be added again."""
        waiting = _Waiting(table, records)
        if not self._waiting:
            self._first_at_s = self._clock.monotonic_s()
        self._waiting.append(waiting)
        self._wake.set()
        try:
            await waiting.done
        finally:
            if waiting in self._waiting:  # whoever waited is gone: another member of the group has the partition
                self._waiting.remove(waiting)

    async def start_offsets(self) -> Mapping[tuple[Table, int], int]:
        """Where reading goes on, from the newest snapshots. Raises: Unavailable."""
        found: dict[tuple[Table, int], int] = {}
        for table in Table:
            coverage = await asyncio.to_thread(self._lake.coverage, table)
            found.update({(table, partition): each.next_offset for partition, each in coverage.items()})
        return found

    @property
    def committing(self) -> asyncio.Lock:
        """Whoever holds it is the only one who commits; records wait meanwhile."""
        return self._committing

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to commit."""
        tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - one commit is short
        """Commit what is gathered."""
        await self._commit()

    def drain(self) -> None:
        """From now on commit at once: the process is about to stop."""
        self._is_draining = True
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._is_due():
                await self._pause()
            await self._commit()

    async def _pause(self) -> None:
        """Until the oldest record is due, or something new came."""
        left_s = self._limits.interval_s - (self._clock.monotonic_s() - self._first_at_s)
        waking = asyncio.ensure_future(self._wake.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(max(0.01, left_s)))
        try:
            await asyncio.wait({waking, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            sleeping.cancel()
        self._wake.clear()

    def _is_due(self) -> bool:
        rows = [record.rows for waiting in self._waiting for record in waiting.records]
        return (
            self._is_draining
            or self._clock.monotonic_s() < self._hurried_until_s
            or self._clock.monotonic_s() - self._first_at_s >= self._limits.interval_s
            or sum(each.nbytes for each in rows) >= self._limits.num_bytes
            or sum(each.num_rows for each in rows) >= self._limits.num_events
        )

    async def _commit(self) -> None:
        async with self._committing:
            waiting, self._waiting = self._waiting, []
            for table in Table:
                mine = [each for each in waiting if each.table is table and not each.done.done()]
                if mine:
                    await self._commit_table(table, mine)

    async def _commit_table(self, table: Table, waiting: list[_Waiting]) -> None:
        records = [record for each in waiting for record in each.records]
        try:
            with self._seconds.labels(table.table_name).time():
                num_covered = await asyncio.to_thread(self._append, table, records)
        except CorkboardError as error:
            if error.verdict is Verdict.PARK and len(waiting) > 1:  # only whoever brought the poison is to blame
                for each in waiting:
                    await self._commit_table(table, [each])
                return
            if error.verdict is Verdict.PARK:  # its sender now halves it to find the poison, which must not take hours
                self._hurried_until_s = self._clock.monotonic_s() + self._limits.interval_s
            log.warning("lake commit failed", table=table.table_name, error=str(error))
            for each in waiting:
                _finish(each.done, error)
            return
        self._rows.labels(table.table_name, "committed").inc(_num_rows(records) - num_covered)
        self._rows.labels(table.table_name, "covered").inc(num_covered)
        for each in waiting:
            _finish(each.done, None)

    def _append(self, table: Table, records: Sequence[LakeRecord]) -> int:
        """Returns how many rows were there already."""
        coverage = self._lake.coverage(table)
        new = [record for record in records if not is_covered(record, coverage)]
        if new:
            self._lake.append(table, dated(_joined(new), table), extended(coverage, new))
        return _num_rows(records) - _num_rows(new)


class LakeDrain:
    """Stops before the consumers do, so that those who wait for a commit get it in time."""

    name = "lake drain"

    def __init__(self, writer: LakeWriter) -> None:
        self._writer = writer

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Nothing to do."""

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - sets a flag
        """Tell the writer."""
        self._writer.drain()


def _joined(records: Sequence[LakeRecord]) -> pa.Table:
    tables = [pa.Table.from_batches([record.rows]) for record in records]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise Invalid(f"columns of {len(tables)} records do not fit together: {error}", reason="bad_rows") from error


def _num_rows(records: Sequence[LakeRecord]) -> int:
    return sum(record.rows.num_rows for record in records)


def _finish(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
