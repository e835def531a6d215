"""Which definitions enriched a row, and when: the last columns of an enriched batch."""

import pyarrow as pa

from protos import event_schema


def sign(batch: pa.RecordBatch, definitions_version: str, now_ms: int) -> pa.RecordBatch:
    """The engine's output with the columns of event_schema.PROVENANCE."""
    values = (
        pa.array([definitions_version] * batch.num_rows, pa.string()),
        pa.array([now_ms] * batch.num_rows, pa.int64()),
    )
    for field, column in zip(event_schema.PROVENANCE, values, strict=True):
        batch = batch.append_column(field, column)
    return batch
