"""Numbers for texts that are the same in every process, on every machine and in every version."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # the constants of SplitMix64 (Steele et al. 2014)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def hash_text(text: str) -> int:
    """63 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def hash_texts(texts: pa.Array) -> pa.Array:
    """`hash_text` of each, as int64; each distinct text is hashed once; null stays null."""
    encoded = pc.dictionary_encode(texts)
    hashes = pa.array([hash_text(each) for each in encoded.dictionary.to_pylist()], pa.int64())
    return hashes.take(encoded.indices)


def mix(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """63 bits of both [N]; another pair gives, but for a chance of 2^-63, another number."""
    with np.errstate(over="ignore"):
        mixed = _finish(first.astype(np.uint64) + _GOLDEN)
        mixed = _finish(mixed ^ (second.astype(np.uint64) * _GOLDEN + _GOLDEN))
    return (mixed >> np.uint64(1)).astype(np.int64)


def _finish(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    number = (number ^ (number >> np.uint64(30))) * _FIRST
    number = (number ^ (number >> np.uint64(27))) * _SECOND
    return number ^ (number >> np.uint64(31))
