"""A seeded world where a person likes several topics, so that only the context says which one it is about now."""

import numpy as np

from modeling.interactions import History, Interactions, collect, leave_last_out
from modeling.training_data import PinTable
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.pin_inputs import pin_features

NUM_TOPICS, PINS_PER_TOPIC, WIDTH = 12, 20, 16
NUM_USERS, NUM_EVENTS, TOPICS_PER_USER = 300, 20, 4
SETTINGS = {"inner_width": 32, "vector_width": 32, "max_history": 20, "topic_buckets": 64}


def pins() -> PinTable:
    """Content vectors lie around their topic's centre."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(NUM_TOPICS, WIDTH))
    topic_P = np.repeat(np.arange(NUM_TOPICS), PINS_PER_TOPIC)
    content_PW = (centres[topic_P] + 0.7 * random.normal(size=(len(topic_P), WIDTH))).astype(np.float32)
    zeros = np.zeros(len(topic_P), dtype=np.int64)
    ids = tuple(f"pin-{number}" for number in range(len(topic_P)))
    return PinTable(ids, content_PW, tuple((f"topic-{t}",) for t in topic_P), zeros, zeros)


def histories() -> list[History]:
    """Each event is of one of the person's topics, drawn anew: the history does not tell which comes next."""
    random, result = np.random.default_rng(1), []
    for user in range(NUM_USERS):
        liked = random.choice(NUM_TOPICS, TOPICS_PER_USER, replace=False)
        pool = np.concatenate([topic * PINS_PER_TOPIC + np.arange(PINS_PER_TOPIC) for topic in liked])
        chosen = random.choice(pool, NUM_EVENTS, replace=False)
        times = [1_700_000_000_000 + 60_000 * step for step in range(NUM_EVENTS)]
        result.append(History(f"user-{user}", [f"pin-{pin}" for pin in chosen], ["save"] * NUM_EVENTS, times))
    return result


def held_out() -> tuple[Interactions, np.ndarray, PinFeatures]:
    """Events without each person's last, that last pin, and the pins."""
    table = pins()
    train, label_U = leave_last_out(collect(histories(), table.pin_ids))
    return train, label_U, pin_features(table, SETTINGS["topic_buckets"])
