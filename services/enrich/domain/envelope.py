"""Small envelopes of one partition are worked on together."""

from collections.abc import Sequence

import pyarrow as pa

MAX_ROWS = 512  # like the envelopes of ingest: larger ones save little and delay the first event


def join(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The same rows in the same order in as few batches as fit; a larger batch stays alone."""
    joined: list[list[pa.RecordBatch]] = []
    num_rows = 0
    for batch in batches:
        if not joined or num_rows + batch.num_rows > MAX_ROWS:
            joined.append([])
            num_rows = 0
        joined[-1].append(batch)
        num_rows += batch.num_rows
    return [group[0] if len(group) == 1 else pa.concat_batches(group) for group in joined]
