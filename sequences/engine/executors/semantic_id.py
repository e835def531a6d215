"""Executor: a vector as a few codes, so that like content shares the first of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.residual_quantiser import LIMIT, from_text
from sequences.engine.signature import check_parameters


class SemanticId:
    """Codes of the vector read, one per level of `codebooks`, coarse to fine; null without a vector.

    `codebooks` is what `services/enrich/offline/train_semantic_ids.py` writes. A vector of another width, or with
    values that are not finite or beyond ±LIMIT, is a failure of that row.
    """

    name = "semantic_id"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"codebooks": str}, required=("codebooks",))
        codebooks = enrichment.parameters.get("codebooks")
        if isinstance(codebooks, str):
            try:
                from_text(codebooks)
            except ValueError as error:
                problems.append(str(error))
        if len(enrichment.reads) != 1:
            problems.append("must read one column of vectors")
        if [column.type for column in enrichment.writes] != ["list<int32>"]:
            problems.append("must write one column of type list<int32>")
        return problems

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        quantiser = from_text(step.parameters["codebooks"])
        vectors = batch.column(step.reads[0])
        widths = pc.list_value_length(vectors).fill_null(-1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(widths == quantiser.dimensions)
        values = vectors.take(pa.array(rows)).flatten().to_numpy(zero_copy_only=False).reshape(-1, quantiser.dimensions)
        is_usable = _is_usable(values)
        codes = quantiser.codes(values[is_usable])
        failures = {int(row): f"values must be finite and within ±{LIMIT}" for row in rows[~is_usable]}
        for row in np.flatnonzero((widths >= 0) & (widths != quantiser.dimensions)):
            failures[int(row)] = f"vector of width {widths[row]}; the codebooks need {quantiser.dimensions}"
        column = _placed(codes, rows[is_usable], batch.num_rows)
        return ExecutorResult({step.writes[0].name: column}, failures=failures)


def _is_usable(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """NaN is not within anything. Nulls inside of a vector come as NaN."""
    return np.asarray((np.abs(values) <= LIMIT).all(axis=1))


def _placed(codes: NDArray[np.int32], rows: NDArray[np.int64], num_rows: int) -> pa.Array:
    """Lists of codes at these rows, null elsewhere."""
    num_levels = codes.shape[1]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel(), pa.int32()), num_levels)
    places = np.full(num_rows, -1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return lists.cast(pa.list_(pa.int32())).take(pa.array(places, mask=places < 0))
