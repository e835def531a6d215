"""A small world with two tastes, so that tests can tell good retrieval from bad."""

import numpy as np

from modeling.arrays import Floats
from modeling.interactions import History
from modeling.training_data import PinTable, TrainingData
from services.cg.domain.pin import IndexedPin

NOW_MS = 1_700_000_000_000
NUM_PINS = 60
WIDTH = 8


def pin_id(number: int) -> str:
    return f"pin-{number:03d}"


def vector(number: int) -> Floats:
    """Pins of one taste point the same way: even and odd numbers."""
    random = np.random.default_rng(number)
    values = random.normal(scale=0.2, size=WIDTH)
    values[number % 2] += 1.0
    return (values / np.linalg.norm(values)).astype(np.float32)


def pin(number: int, **changes: object) -> IndexedPin:
    fields = {
        "pin_id": pin_id(number),
        "content_vector": vector(number),
        "topics": (f"taste-{number % 2}",),
        "created_time_ms": NOW_MS - 60_000 * (NUM_PINS - number),
        "quality_score": 0.5,
        "locale": "en-US",
    }
    return IndexedPin(**{**fields, **changes})  # type: ignore[arg-type]


def training_data(num_users: int = 60, num_events: int = 15) -> TrainingData:
    """Every user likes pins of one taste only."""
    random = np.random.default_rng(7)
    histories = []
    for user in range(num_users):
        liked = [number for number in range(NUM_PINS) if number % 2 == user % 2]
        numbers = random.choice(liked, num_events, replace=False)
        times = [NOW_MS - 1_000_000 + 1_000 * step for step in range(num_events)]
        histories.append(History(f"user-{user}", [pin_id(n) for n in numbers], ["save"] * num_events, times))
    pins = PinTable(
        tuple(pin_id(number) for number in range(NUM_PINS)),
        np.stack([vector(number) for number in range(NUM_PINS)]),
        tuple((f"taste-{number % 2}",) for number in range(NUM_PINS)),
        np.full(NUM_PINS, NOW_MS),
        np.zeros(NUM_PINS, dtype=np.int64),
    )
    return TrainingData("dataset-test", tuple(histories), pins, None)
