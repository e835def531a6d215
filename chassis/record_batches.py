"""Small Arrow batches worked on together: most of a batch's cost does not depend on its rows."""

from collections.abc import Sequence

import pyarrow as pa

MAX_ROWS = 512  # like the envelopes of ingest: larger ones save little and delay the first event


def join(batches: Sequence[pa.RecordBatch], max_rows: int = MAX_ROWS) -> list[pa.RecordBatch]:
    """The same rows in the same order in as few batches as fit; a larger batch, or another schema, stays alone."""
    joined: list[list[pa.RecordBatch]] = []
    num_rows = 0
    for batch in batches:
        if not joined or num_rows + batch.num_rows > max_rows or not batch.schema.equals(joined[-1][0].schema):
            joined.append([])
            num_rows = 0
        joined[-1].append(batch)
        num_rows += batch.num_rows
    return [group[0] if len(group) == 1 else pa.concat_batches(group) for group in joined]
