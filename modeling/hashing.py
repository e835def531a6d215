"""Stable numbers for names, equal in every process and release."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from modeling.arrays import Ints


@lru_cache(maxsize=100_000)  # about 20 MB; names of pins come again and again, and a look-up costs a tenth
def stable_hash(name: str) -> int:
    """A non-negative 63-bit number for `name`; never Python's own, salted hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def stable_hashes(names: Iterable[str]) -> Ints:
    """`stable_hash` of each name, int64."""
    return np.fromiter((stable_hash(name) for name in names), dtype=np.int64)
