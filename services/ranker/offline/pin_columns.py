"""What the model is told of every pin of a dataset, with the units of serving.

Shapes: P pins, W content width.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.hashing import stable_hashes
from modeling.training_data import PinTable
from services.ranker.domain.preprocess import MICROS


@dataclass(frozen=True)
class PinColumns:
    """Model inputs of every pin the data knows."""

    hash_P: Ints
    content_PW: Floats
    created_ms_P: Ints
    price_P: Floats


def pin_columns(pins: PinTable) -> PinColumns:
    """The columns in the order of the table."""
    price_P = (pins.price_micros_P / MICROS).astype(np.float32)
    return PinColumns(stable_hashes(pins.pin_ids), pins.content_PW, pins.created_ms_P, price_P)
