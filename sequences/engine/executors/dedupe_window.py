"""Executor: what makes events repeats of each other, as a key that the place with the complete order drops them by."""

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters

MS_PER_S = 1000
FIRST_READS = ("event_type", "event_time_ms")
SEPARATOR = ":"


class DedupeWindow:
    """Writes `<event type>:<number of the window>:<item>`, equal for events of a user that repeat each other.

    Reads event_type, event_time_ms and the column that names the item, such as pin_id; a row without an item gets null,
    which repeats nothing. Windows of `window_s` seconds follow each other since 1970, so two events on either side of
    a border are no repeats however close they are. No row is dropped here: what else is in the batch differs between
    runtimes (docs/adr/0010). A sequence with this column as its `dedupe_key` keeps one event of each key.
    """

    name = "dedupe_window"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"window_s": int}, required=("window_s",))
        window_s = enrichment.parameters.get("window_s")
        if isinstance(window_s, int) and window_s < 1:
            problems.append("window_s must be at least 1")
        if len(enrichment.reads) != 3 or enrichment.reads[:2] != FIRST_READS:
            problems.append(f"must read {', '.join(FIRST_READS)} and the column of the item")
        if [column.type for column in enrichment.writes] != ["string"]:
            problems.append("must write one string column")
        return problems

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        kinds, times_ms, items = (batch.column(name) for name in step.reads)
        window_ms = int(step.parameters["window_s"]) * MS_PER_S
        numbers = pa.array(times_ms.to_numpy(zero_copy_only=False) // window_ms, pa.int64()).cast(pa.string())
        keys = pc.binary_join_element_wise(kinds, numbers, items, SEPARATOR)
        has_item = pc.fill_null(pc.not_equal(items, ""), False)
        return ExecutorResult({step.writes[0].name: pc.if_else(has_item, keys, pa.scalar(None, pa.string()))})
