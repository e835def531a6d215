"""Vectors to a few small numbers: residual quantisation, as semantic ids of items use it (Rajput et al. 2023).

L levels, K codes each, D dimensions, N vectors. Each level takes the nearest of its centroids from what the levels
before have left. Everything is counted in whole 1/4096 and summed in float64 below 2^53, so sums are exact: the codes
are the same for any batch, any machine and any linear algebra library.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

STEPS = 4096.0  # per 1.0; a unit vector of 64 dimensions has values around 0.125
LIMIT = 7.99  # of a value, so that it fits 16 bits
MAX_LEVELS = 8
MAX_CODES = 1024
MAX_DIMENSIONS = 4096


@dataclass(frozen=True)
class ResidualQuantiser:
    """`codebooks` [L, K, D] int16, in 1/4096."""

    codebooks: NDArray[np.int16]

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.codebooks.shape[2])

    def codes(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """[N, D] -> [N, L], each in 0..K-1; of centroids that are equally near, the first. Values must be finite and
        within ±LIMIT."""
        left = np.rint(vectors.astype(np.float64) * STEPS)
        codes = np.empty((len(vectors), len(self.codebooks)), dtype=np.int32)
        for level, centroids in enumerate(self.codebooks.astype(np.float64)):
            codes[:, level] = nearest(left, centroids)
            left -= centroids[codes[:, level]]
        return codes

    def to_text(self) -> str:
        """Shape and base64, as the parameter of an enrichment carries it."""
        shape = "x".join(map(str, self.codebooks.shape))
        return f"{shape}:{base64.b64encode(self.codebooks.astype('<i2').tobytes()).decode()}"


def nearest(vectors: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row of the nearest centroid for each vector: the square of the distance without its constant part."""
    distances = np.square(centroids).sum(axis=1)[None, :] - 2.0 * (vectors @ centroids.T)
    found: NDArray[np.int64] = np.argmin(distances, axis=1)
    return found


@lru_cache(maxsize=8)
def from_text(text: str) -> ResidualQuantiser:
    """What `to_text` wrote. Raises: ValueError."""
    shape_text, _, content = text.strip().partition(":")
    try:
        levels, codes, dimensions = (int(part) for part in shape_text.split("x"))
        values = np.frombuffer(base64.b64decode(content, validate=True), dtype="<i2")
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"codebooks must be levels x codes x dimensions, a colon and base64: {error}") from error
    is_small = 0 < levels <= MAX_LEVELS and 1 < codes <= MAX_CODES and 0 < dimensions <= MAX_DIMENSIONS
    if not is_small or values.size != levels * codes * dimensions:
        raise ValueError(
            f"codebooks of {shape_text} hold {values.size} numbers; at most {MAX_LEVELS} levels, {MAX_CODES} codes and "
            f"{MAX_DIMENSIONS} dimensions are allowed"
        )
    return ResidualQuantiser(values.reshape(levels, codes, dimensions).astype(np.int16))
