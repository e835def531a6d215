"""Use case: run a range of history through the engine again, in pieces, and publish all of it at once."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Conflict, Invalid, NotFound
from services.indexer.domain.watermark import BatchState, Run

MAX_CHUNK_ROWS = 131_072  # ~100 MB in memory with what enrichments add; a commit costs about as much as 30,000 rows
F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)


class Files(Protocol[F_co]):
    """Files of a run in their order."""

    @property
    def num_rows(self) -> Sequence[int]:
        """Of each file, an upper bound."""
        ...

    @property
    def tasks(self) -> Sequence[F_co]:
        """What `EventFiles.read` takes."""
        ...


class EventFiles(Protocol[F]):
    """The stream's events by file, of one snapshot. Every method raises Unavailable when the lake is away."""

    def snapshot_id(self) -> int | None:
        """The newest snapshot; None without events."""
        ...

    def has_snapshot(self, snapshot_id: int) -> bool:
        """Whether it can still be read."""
        ...

    def of(self, run: Run) -> Files[F]:
        """Every file that may hold events of the run, always in the same order."""
        ...

    def read(self, run: Run, tasks: Sequence[F]) -> pa.Table:
        """Events of the run in these files, as ingest accepted them."""
        ...


class Backfills(Protocol):
    """Rows and state of runs, each step atomic. Raises: Conflict when another process works on the run, Unavailable."""

    def state(self) -> BatchState:
        """What is published and open."""
        ...

    def begin(self, run: Run, schema: pa.Schema) -> None:
        """Open the run; what an abandoned one of its type wrote is deleted."""
        ...

    def commit(self, before: Run, after: Run, rows: pa.Table) -> None:
        """Rows and position together."""
        ...

    def publish(self, run: Run, activated_ms: Mapping[str, int]) -> BatchState:
        """Move W and show the run."""
        ...


@dataclass(frozen=True)
class Chunk:
    """What the engine made of some events. `rows` has kept and filtered ones, `failures` counts by what went wrong."""

    rows: pa.Table
    num_kept: int
    num_filtered: int
    num_late: int
    failures: Mapping[str, int]


@dataclass(frozen=True)
class Order:
    """What is asked for: events of a type in [from_ms, until_ms) under these definitions.

    `activated_ms` says when each known version of the definitions was last activated.
    """

    event_type: str
    from_ms: int
    until_ms: int
    definitions_version: str
    activated_ms: Mapping[str, int]


@dataclass(frozen=True)
class Progress:
    """After a chunk: rows read of an upper bound, since the beginning of the run."""

    num_done: int
    num_total: int


@dataclass(frozen=True)
class Done:
    """A published run; `failures` are those of this process, `run` counts since the beginning."""

    run: Run
    is_resumed: bool
    watermark_ms: int
    failures: Mapping[str, int]


Enrich = Callable[[pa.Table, Run], Awaitable[Chunk]]


class Backfill(Generic[F]):
    """Killed at any point and run again it goes on where the last commit was; nothing is there twice."""

    def __init__(
        self, files: EventFiles[F], backfills: Backfills, clock: Clock, max_chunk_rows: int | None = None
    ) -> None:
        self._max_chunk_rows = max_chunk_rows or MAX_CHUNK_ROWS
        self._files = files
        self._backfills = backfills
        self._clock = clock

    async def __call__(
        self,
        order: Order,
        schema: pa.Schema,
        enrich: Enrich,
        on_progress: Callable[[Progress], None],
        *,
        gives_up_open: bool = False,
    ) -> Done:
        """Returns when readers see the result. `schema` is that of chunks.

        `gives_up_open` begins anew although another run of the type is under way; its rows are deleted.
        Raises: NotFound without events, Invalid for an empty range, Conflict while another run of the type is open or
        another process works on this one, Unavailable.
        """
        run, is_resumed = self._resumed_or_begun(order, schema, gives_up_open)
        files, failures = self._files.of(run), Counter[str]()
        num_total = sum(files.num_rows)
        for first, end in _chunks(files.num_rows, run.num_files_done, self._max_chunk_rows):
            events = self._files.read(run, files.tasks[first:end])
            chunk = await enrich(events, run)
            after = _advanced(run, end, events.num_rows, chunk)
            self._backfills.commit(run, after, chunk.rows)
            run = after
            failures.update(chunk.failures)
            on_progress(Progress(sum(files.num_rows[:end]), num_total))
        state = self._backfills.publish(run, order.activated_ms)
        return Done(run, is_resumed, state.of(run.event_type).watermark_ms, failures)

    def _resumed_or_begun(self, order: Order, schema: pa.Schema, gives_up_open: bool) -> tuple[Run, bool]:
        found = self._backfills.state().open_runs.get(order.event_type)
        if found is not None and not gives_up_open:
            if not _is_for(found, order):
                raise Conflict(_other(found), field="event-type", reason="unfinished_backfill")
            if self._files.has_snapshot(found.source_snapshot_id):
                return found, True
        run = self._begun(order)
        self._backfills.begin(run, schema)
        return run, False

    def _begun(self, order: Order) -> Run:
        snapshot_id, now_ms = self._files.snapshot_id(), self._clock.now_ms()
        if snapshot_id is None:
            raise NotFound("the lake holds no events yet", reason="no_events")
        until_ms = min(order.until_ms, now_ms)  # what is not over yet stays the stream's
        if until_ms <= order.from_ms:
            raise Invalid("the range begins in the future or is empty", field="from", reason="empty_range")
        name = f"{order.event_type} {order.from_ms} {until_ms} {order.definitions_version} {now_ms}"
        run_id = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()  # below the 16 bytes of column bounds
        return Run(run_id, order.event_type, order.from_ms, until_ms, order.definitions_version, now_ms, snapshot_id)


def _other(run: Run) -> str:
    first, end = (datetime.fromtimestamp(each / 1000, UTC) for each in (run.from_ms, run.until_ms - 1))
    return (
        f"a backfill of {run.event_type!r} from {first:%Y-%m-%d} to {end:%Y-%m-%d} under definitions "
        f"{run.definitions_version} is not finished: ask for the same to finish it, or give it up with --restart"
    )


def _is_for(run: Run, order: Order) -> bool:
    """Whether the open run is what is asked for again; a range that went to "now" went to the run's own start."""
    is_same_end = run.until_ms == min(order.until_ms, run.started_ms)
    is_same_work = (run.from_ms, run.definitions_version) == (order.from_ms, order.definitions_version)
    return is_same_end and is_same_work


def _chunks(num_rows: Sequence[int], first: int, max_rows: int) -> Iterator[tuple[int, int]]:
    """[first, end) of consecutive files with at most so many rows, or one file."""
    while first < len(num_rows):
        end, total = first + 1, num_rows[first]
        while end < len(num_rows) and total + num_rows[end] <= max_rows:
            total += num_rows[end]
            end += 1
        yield first, end
        first = end


def _advanced(run: Run, num_files_done: int, num_in: int, chunk: Chunk) -> Run:
    num_failed = sum(chunk.failures.values())
    assert num_in == chunk.num_kept + chunk.num_filtered + num_failed, "the engine lost rows"  # noqa: S101
    return replace(
        run,
        num_files_done=num_files_done,
        num_in=run.num_in + num_in,
        num_kept=run.num_kept + chunk.num_kept,
        num_filtered=run.num_filtered + chunk.num_filtered,
        num_failed=run.num_failed + num_failed,
        num_late=run.num_late + chunk.num_late,
    )
