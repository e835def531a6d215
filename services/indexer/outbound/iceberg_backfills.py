"""What backfills write: rows of all runs in one Iceberg table, and in its properties which of them may be read.

Rows and state change in the same commit. The state is in the table's properties, not in a snapshot's summary, because
those outlive compaction and the expiry of snapshots; the summaries carry run and position for whoever looks at them.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import And, BooleanExpression
from pyiceberg.table import Table as IcebergTable

from chassis.errors import Conflict
from services.indexer.domain.layers import BACKFILLED, BATCH_COLUMNS, PARTITIONS, RUN_ID
from services.indexer.domain.watermark import (
    BatchState,
    Run,
    from_json_object,
    publish,
    to_json_object,
    with_open,
)
from services.indexer.outbound.iceberg_tables import (
    NAMESPACE,
    TABLE_PROPERTIES,
    among,
    between,
    create,
    find,
    fitting,
    optional,
    translated,
    widened,
)

NAME = f"{NAMESPACE}.{BACKFILLED}"
STATE = "corkboard.backfills"
POSITION = "corkboard.backfill-position"
MAX_ATTEMPTS = 20  # runs of other event types commit to the same table; each is short


class IcebergBackfills:
    """Any number of processes may work on different event types; two on the same run find each other out."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def state(self) -> BatchState:
        """What is published and under way now. Raises: Unavailable."""
        with translated(BACKFILLED):
            return _state_of(find(self._catalog, NAME))

    def begin(self, run: Run, schema: pa.Schema) -> None:
        """Open the run; rows of an open run of the same type that is given up are deleted. `schema` is of its rows.

        Raises: Conflict, Unavailable, Invalid when a column has another type than in the table.
        """
        with translated(BACKFILLED):
            table = create(self._catalog, NAME, optional(_columns(schema)), PARTITIONS, TABLE_PROPERTIES)
            widened(table, optional(_columns(schema)))
        self._change(lambda state: with_open(state, run), None, run, drop=self._given_up(run))

    def commit(self, before: Run, after: Run, rows: pa.Table) -> None:
        """The rows and the new position of the run, in one step.

        Raises: Conflict when the run is not open at the position of `before`, Unavailable, Invalid.
        """

        def change(state: BatchState) -> BatchState:
            _must_be_open(state, before)
            return with_open(state, after)

        self._change(change, rows, after)

    def publish(self, run: Run, activated_ms: Mapping[str, int]) -> BatchState:
        """W moves and readers see the run, in one step; then the rows of retired runs go.

        Raises: Conflict when the run is not open at this position, Unavailable.
        """
        retired: list[str] = []

        def change(state: BatchState) -> BatchState:
            _must_be_open(state, run)
            after = publish(state, run, activated_ms)
            retired[:] = sorted(set(state.readable_run_ids()) - set(after.readable_run_ids()))
            return after

        published = self._change(change, None, run)
        if retired:
            self._change(lambda state: state, None, run, drop=retired)
        return published

    def read(
        self, columns: Sequence[str] | None, event_types: Sequence[str] | None
    ) -> tuple[pa.Table | None, BatchState]:
        """Rows of published runs and the state that published them, of one snapshot; None when there is no table."""
        with translated(BACKFILLED):
            table = find(self._catalog, NAME)
            state = _state_of(table)
            if table is None:
                return None, state
            known = table.schema().as_arrow().names
            selected = tuple(known if columns is None else [name for name in columns if name in known])
            run_ids = state.readable_run_ids(event_types)
            if not run_ids:
                return table.schema().as_arrow().empty_table().select(selected), state
            rows = table.scan(_only(run_ids, event_types), selected_fields=selected).to_arrow()
            return rows.select(selected), state

    def stream(
        self, since_ms: int, until_ms: int | None = None, event_types: Sequence[str] | None = None
    ) -> tuple[pa.RecordBatchReader | None, BatchState]:
        """Rows of published runs in [since, until), not all in memory; None when there are none."""
        with translated(BACKFILLED):
            table = find(self._catalog, NAME)
            state = _state_of(table)
            if table is None or not (run_ids := state.readable_run_ids(event_types)):
                return None, state
            wanted = And(_only(run_ids, event_types), between("event_time_ms", since_ms, until_ms))
            return table.scan(wanted).to_arrow_batch_reader(), state

    def _given_up(self, run: Run) -> list[str]:
        found = self.state().open_runs.get(run.event_type)
        return [found.run_id] if found is not None and found.num_rows else []

    def _change(
        self,
        change: Callable[[BatchState], BatchState],
        rows: pa.Table | None,
        run: Run,
        drop: Sequence[str] = (),
    ) -> BatchState:
        """One commit on the newest snapshot; somebody else's commit in between means trying again on theirs."""
        for _ in range(MAX_ATTEMPTS):
            with translated(BACKFILLED):
                table = self._catalog.load_table(NAME)
                state = change(_state_of(table))
                given = rows if rows is not None else table.schema().as_arrow().empty_table()
                try:
                    self._commit(table, state, fitting(table, given), run, drop)
                except CommitFailedException:
                    continue
                return state
        raise Conflict(f"table {BACKFILLED} changed {MAX_ATTEMPTS} times meanwhile", reason="two_writers")

    def _commit(self, table: IcebergTable, state: BatchState, rows: pa.Table, run: Run, drop: Sequence[str]) -> None:
        """An append even without rows: it is what makes the catalog refuse a commit on an older snapshot."""
        position = json.dumps({RUN_ID: run.run_id, "num_files_done": run.num_files_done})
        with table.transaction() as transaction:
            transaction.append(rows, snapshot_properties={POSITION: position})
            if drop:
                transaction.delete(among(RUN_ID, drop))
            transaction.set_properties({STATE: json.dumps(to_json_object(state))})


def _columns(schema: pa.Schema) -> pa.Schema:
    names = set(schema.names)
    return pa.schema([*schema, *(field for field in BATCH_COLUMNS if field.name not in names)])


def _state_of(table: IcebergTable | None) -> BatchState:
    stored = table.properties.get(STATE) if table is not None else None
    return from_json_object(json.loads(stored)) if stored else BatchState()


def _must_be_open(state: BatchState, run: Run) -> None:
    found = state.open_runs.get(run.event_type)
    if found != run:
        at = f"is at file {found.num_files_done} of run {found.run_id}" if found else "is not open"
        raise Conflict(
            f"backfill {run.run_id} of {run.event_type!r} {at}, not at file {run.num_files_done}: "
            f"another process works on it",
            reason="two_writers",
        )


def _only(run_ids: Sequence[str], event_types: Sequence[str] | None) -> BooleanExpression:
    return And(among(RUN_ID, run_ids), among("event_type", event_types))
