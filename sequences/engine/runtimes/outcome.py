"""What a batch runtime hands on, and how it travels between processes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sequences.engine.result import EngineResult

FAILURES: pa.Schema = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("enrichment", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
KEPT, FILTERED, FAILED = "kept", "filtered", "failed"
OUTCOME: tuple[pa.Field, ...] = (
    pa.field("outcome", pa.string(), nullable=False),
    pa.field("outcome_enrichment", pa.string()),
    pa.field("outcome_reason", pa.string()),
)
"""What came of each row of `to_table`; the enrichment and reason only of failed ones."""


@dataclass(frozen=True)
class Outcome:
    """num_in = enriched.num_rows + rows filtered + failures.num_rows; `failures` as FAILURES says."""

    enriched: pa.Table
    failures: pa.Table
    num_in: int


def outcome_of(result: EngineResult, given: pa.RecordBatch) -> Outcome:
    """What the engine made of `given`."""
    rows = pa.array([failure.row for failure in result.failures], pa.int64())
    failed = given.select(["event_id", "user_id"]).take(rows)
    columns = [
        *failed.columns,
        pa.array([failure.enrichment for failure in result.failures], pa.string()),
        pa.array([failure.reason for failure in result.failures], pa.string()),
    ]
    failures = pa.Table.from_arrays(columns, schema=FAILURES)
    return Outcome(pa.Table.from_batches([result.batch]), failures, given.num_rows)


def to_table(result: EngineResult, given: pa.RecordBatch) -> pa.Table:
    """Every row of `given`, in order, with what was written into it (null unless kept) and the columns of OUTCOME."""
    num_rows = given.num_rows
    places = np.full(num_rows, -1, dtype=np.int64)
    places[result.rows] = np.arange(len(result.rows))
    taken = pa.array(places, mask=places < 0)
    schema = result.batch.schema
    columns = [
        given.column(field.name) if field.name in given.schema.names else result.batch.column(field.name).take(taken)
        for field in schema
    ]
    outcomes = np.where(places < 0, FILTERED, KEPT).astype(object)
    enrichments, reasons = np.full((2, num_rows), None, dtype=object)
    for failure in result.failures:
        outcomes[failure.row], enrichments[failure.row] = FAILED, failure.enrichment
        reasons[failure.row] = failure.reason
    columns += [pa.array(values, pa.string()) for values in (outcomes, enrichments, reasons)]
    return pa.Table.from_arrays(columns, schema=pa.schema([*schema, *OUTCOME]))


def from_table(table: pa.Table) -> Outcome:
    """The outcome that `to_table` wrote."""
    names = [field.name for field in OUTCOME]
    outcome = table.column(names[0])
    failed = table.filter(pc.equal(outcome, FAILED)).select(["event_id", "user_id", *names[1:]])
    enriched = table.filter(pc.equal(outcome, KEPT)).drop_columns(names)
    return Outcome(enriched, failed.rename_columns(FAILURES.names).cast(FAILURES), table.num_rows)
