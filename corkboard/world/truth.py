"""The hidden truth of the seeded world: where pins lie, what people like, and how they act on what they see."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corkboard.world.vocabulary import TOPICS

DIMENSION = 64
SECOND_TOPIC_SHARE = 0.35
PIN_NOISE = 0.45
LIKING_SCALE = 0.25  # cosine of taste and pin at which liking is one unit above average
DAY_MS = 86_400_000

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WorldSize:
    """How large a world to make; the defaults suit a laptop."""

    num_pins: int = 5_000
    num_people: int = 500
    num_days: int = 28
    num_sessions_per_person: int = 8
    num_pins_per_session: int = 20
    num_ads_per_session: int = 3  # of those pins
    ad_share: float = 0.06  # of all pins
    seed: int = 7


@dataclass(frozen=True)
class Truth:
    """vectors_PD and tastes_UD have unit rows; topic_of_P is the first topic's index."""

    vectors_PD: Floats
    topic_of_P: npt.NDArray[np.int64]
    second_topic_of_P: npt.NDArray[np.int64]
    quality_P: Floats
    tastes_UD: Floats
    drifted_tastes_UD: Floats

    def taste_at(self, person: int, share: float) -> Floats:
        """A person's taste when `share` (0..1) of the world's past has gone by."""
        mixed = (1 - share) * self.tastes_UD[person] + share * self.drifted_tastes_UD[person]
        return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float32)

    def affinity(self, person: int, pins: npt.NDArray[np.int64], share: float = 1.0) -> Floats:
        """How much the person likes each pin: cosine of taste and pin plus a share of its quality."""
        return np.asarray(self.vectors_PD[pins] @ self.taste_at(person, share) + 0.2 * self.quality_P[pins])


def make_truth(size: WorldSize) -> Truth:
    """The same truth for the same size and seed."""
    random = np.random.default_rng(size.seed)
    centres_TD = _unit(random.normal(size=(len(TOPICS), DIMENSION)))
    first = random.integers(len(TOPICS), size=size.num_pins)
    second = random.integers(len(TOPICS), size=size.num_pins)
    noise = random.normal(size=(size.num_pins, DIMENSION)) * PIN_NOISE / np.sqrt(DIMENSION)
    vectors = _unit(centres_TD[first] + SECOND_TOPIC_SHARE * centres_TD[second] + noise)
    return Truth(
        vectors,
        first,
        second,
        random.beta(4, 2, size.num_pins).astype(np.float32),
        _tastes(random, size.num_people, centres_TD),
        _tastes(random, size.num_people, centres_TD),
    )


def _tastes(random: np.random.Generator, num_people: int, centres_TD: Floats) -> Floats:
    """Each person likes a few topics strongly: a sparse mixture of topic centres."""
    weights = random.dirichlet(np.full(len(centres_TD), 0.12), size=num_people)
    return _unit(weights @ centres_TD + 0.1 * random.normal(size=(num_people, DIMENSION)) / np.sqrt(DIMENSION))


def _unit(rows: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
