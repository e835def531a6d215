"""Learns the codebooks of semantic ids from the vectors of pins.

python -m services.enrich.offline.train_semantic_ids --pins pins.parquet --output semantic_ids.txt

The text goes into an enrichment with the executor `semantic_id`, as its parameter `codebooks`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chassis.errors import Invalid
from chassis.logs import get_logger
from sequences.engine.residual_quantiser import MAX_CODES, MAX_LEVELS, STEPS, ResidualQuantiser
from sequences.engine.residual_training import train_codebooks

MAX_VECTORS = 100_000  # more teach 256 centroids nothing new; 64 dimensions of them are 51 MB
log = get_logger(__name__)


def vectors_of(path: Path, column: str) -> NDArray[np.float32]:
    """The vectors in this column [N, D], evenly picked when there are more than MAX_VECTORS.

    Raises: Invalid when the column is absent, holds no vectors, or vectors of several widths.
    """
    if column not in pq.read_schema(path).names:
        raise Invalid(f"{path.name} has no column {column!r}", field="column", reason="unknown_column")
    vectors = pq.read_table(path, columns=[column]).column(0).drop_null().combine_chunks()
    widths = pc.unique(pc.list_value_length(vectors)).to_pylist()
    if len(widths) != 1:
        raise Invalid(f"column {column!r} holds vectors of widths {widths}", field="column", reason="bad_vectors")
    picked = np.linspace(0, len(vectors) - 1, min(len(vectors), MAX_VECTORS)).astype(np.int64)
    values = vectors.take(pa.array(picked)).flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float32).reshape(len(picked), widths[0])


def unexplained(quantiser: ResidualQuantiser, vectors: NDArray[np.float32]) -> list[float]:
    """The share of the squared length that is left after each level, in [0, 1] when the centroids fit."""
    codes, left = quantiser.codes(vectors), vectors.astype(np.float64)
    total, shares = float(np.square(left).sum()), []
    for level, centroids in enumerate(quantiser.codebooks):
        left = left - centroids[codes[:, level]] / STEPS
        shares.append(float(np.square(left).sum()) / total)
    return shares


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the codebooks are written."""
    parser = argparse.ArgumentParser(description="Learn the codebooks of semantic ids.")
    parser.add_argument("--pins", type=Path, required=True, help="Parquet file with a column of vectors")
    parser.add_argument("--column", default="content_vector")
    parser.add_argument("--output", type=Path, required=True, help="text file to write")
    parser.add_argument("--levels", type=int, default=3, choices=range(1, MAX_LEVELS + 1))
    parser.add_argument("--codes", type=int, default=256, choices=range(2, MAX_CODES + 1), metavar=f"2..{MAX_CODES}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        vectors = vectors_of(options.pins, options.column)
        quantiser = train_codebooks(vectors, options.levels, options.codes, options.seed)
    except (Invalid, ValueError, OSError, pa.ArrowException) as error:
        log.error("training failed", error=str(error))
        return 1
    options.output.write_text(quantiser.to_text() + "\n")
    log.info("codebooks written", num_vectors=len(vectors), unexplained=unexplained(quantiser, vectors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
