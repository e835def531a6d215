"""Features into a fixed number of dimensions by signed hashing (Weinberger et al. 2009), with no training."""

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+")
TOPIC_WEIGHT = 2.0  # a topic says more than a word of the description
PAIR_WEIGHT = 0.5  # two words in a row
PICTURE_WEIGHT = 1.0
MAX_WORDS = 1000  # a description has at most 5,000 characters
CACHED_TOKENS = 65_536


class HashingEncoder:
    """Words, pairs of words, topics and picture features -> unit vector [dimensions], float32."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.version = f"hashing-v1-d{dimensions}"

    def encode(
        self, texts: Sequence[str], topics: Sequence[str], picture: Mapping[str, float], *, fallback: str
    ) -> NDArray[np.float32]:
        """Without any feature, the vector of the text `fallback`."""
        weights = self._weights(texts, topics, picture) or {f"id:{fallback}": 1.0}
        vector = np.zeros(self.dimensions)
        for feature, weight in weights.items():
            number = _hash(feature)
            vector[(number >> 1) % self.dimensions] += weight if number & 1 else -weight
        length = float(np.linalg.norm(vector))
        if length == 0.0:  # every feature met its opposite
            vector[_hash(f"id:{fallback}") % self.dimensions] = length = 1.0
        return (vector / length).astype(np.float32)

    @staticmethod
    def _weights(texts: Sequence[str], topics: Sequence[str], picture: Mapping[str, float]) -> dict[str, float]:
        words = [word for text in texts for word in WORD.findall(text)][:MAX_WORDS]
        counts = Counter(f"word:{word}" for word in words)
        weights = {feature: 1.0 + math.log(count) for feature, count in counts.items()}
        for first, second in itertools.pairwise(words):
            weights[f"pair:{first} {second}"] = PAIR_WEIGHT
        for rank, topic in enumerate(topics):
            weights.setdefault(f"topic:{topic.casefold()}", TOPIC_WEIGHT / (1 + 0.5 * rank))
        for feature, value in picture.items():
            weights[f"picture:{feature}"] = PICTURE_WEIGHT * value
        return weights


@lru_cache(maxsize=CACHED_TOKENS)
def _hash(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "big")
