"""Pins of a dataset as model inputs."""

import numpy as np

from modeling.hashing import stable_hash
from modeling.training_data import PinTable
from services.cg.domain.two_tower import TwoTowerSettings
from services.cg.domain.two_tower_features import MAX_TOPICS, PinFeatures, topic_buckets


def pin_features(pins: PinTable, num_buckets: int = TwoTowerSettings.topic_buckets) -> PinFeatures:
    """The id rows are 1..P; content has unit length."""
    topic_PT = np.full((len(pins.pin_ids), MAX_TOPICS), -1, dtype=np.int64)
    for row, topics in enumerate(pins.topics):
        hashes = [stable_hash(topic) for topic in topics[:MAX_TOPICS]]
        topic_PT[row, : len(hashes)] = hashes
    norm_P1 = np.maximum(np.linalg.norm(pins.content_PW, axis=1, keepdims=True), 1e-9)
    content_PW = (pins.content_PW / norm_P1).astype(np.float32)
    return PinFeatures(np.arange(1, len(pins.pin_ids) + 1), content_PW, topic_buckets(topic_PT, num_buckets))
