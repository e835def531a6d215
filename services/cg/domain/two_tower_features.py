"""How a pin becomes model input; no torch here, so that the index can share it."""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Floats, Ints

MAX_TOPICS = 4


@dataclass(frozen=True)
class PinFeatures:
    """Model inputs of pins: row in the id table (0 = unknown) [P], content [P, W], topic buckets [P, T] (0 = none).

    Graph vectors [P, G] are there if the pins have any; hashes of advertisers (-1 = no ad) and prices in currency units
    (0 = none) for whom they matter.
    """

    id_row_P: Ints
    content_PC: Floats
    topic_PT: Ints
    graph_PG: Floats | None = None
    advertiser_P: Ints | None = None
    price_P: Floats | None = None


def topic_buckets(topic_hash_PT: Ints, num_buckets: int) -> Ints:
    """Hashes (-1 = no topic) to rows of the topic table (0 = no topic)."""
    return np.where(topic_hash_PT < 0, 0, topic_hash_PT % num_buckets + 1)


def interest_confidence(topic_PT: Ints) -> Floats:
    """How surely a pin is about each of its interests [P, T]: topics come most important first, so 1, 1/2, 1/3, …."""
    place_T = np.arange(1, topic_PT.shape[1] + 1)
    return np.where(topic_PT > 0, 1.0 / place_T, 0.0).astype(np.float32)
