"""The hidden truth of shopping: which pins are ads, of whom, at what price, and what makes a person buy.

Looking and buying differ on purpose: people buy for needs that are mostly not the topics they like to look at, within
a budget, from shops they trust. A model that only foresees clicks therefore foresees purchases badly.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corkboard.world.truth import Floats, Truth, WorldSize
from corkboard.world.vocabulary import TOPICS

NUM_ADVERTISERS = 40
HOME_TOPICS = 2  # that an advertiser sells for
HOME_SHARE = 0.85  # of the ads of a topic are by advertisers at home in it
TASTE_SHARE = 0.35  # of what a person needs is what they like anyway
LOYAL_TO = 3  # advertisers a person has bought from before
NEED_SCALE = 0.25  # cosine of need and pin at which wanting is one unit above average
DEAR = 1.2  # wanting lost per unit of log price beyond the budget


@dataclass(frozen=True)
class Shop:
    """`advertiser_P` is -1 for a pin that is no ad, its price 0. Prices are in currency units, budgets their log."""

    advertiser_P: npt.NDArray[np.int64]
    price_P: npt.NDArray[np.float64]
    need_UD: Floats
    budget_U: npt.NDArray[np.float64]
    trust_A: npt.NDArray[np.float64]
    is_loyal_UA: npt.NDArray[np.bool_]
    vectors_PD: Floats

    @property
    def ads(self) -> npt.NDArray[np.int64]:
        """Numbers of the pins that are ads."""
        return np.flatnonzero(self.advertiser_P >= 0)

    def wanting(self, person: int, pins: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """How much a person wants to buy each of these ads, 0 on average; of no meaning for other pins."""
        need = (self.vectors_PD[pins] @ self.need_UD[person] - 0.2) / NEED_SCALE
        excess = np.maximum(0.0, np.log(np.maximum(self.price_P[pins], 1.0)) - self.budget_U[person])
        advertiser = self.advertiser_P[pins]
        of_shop = self.trust_A[advertiser] + 1.0 * self.is_loyal_UA[person, advertiser]
        return np.asarray(need - DEAR * excess + of_shop, dtype=np.float64)


def make_shop(size: WorldSize, truth: Truth) -> Shop:
    """The same shop for the same size and seed."""
    random = np.random.default_rng(size.seed + 3)
    homes_AH = np.stack([random.choice(len(TOPICS), HOME_TOPICS, replace=False) for _ in range(NUM_ADVERTISERS)])
    is_ad_P = random.random(size.num_pins) < size.ad_share
    advertiser_P = np.where(is_ad_P, _advertisers(random, truth.topic_of_P, homes_AH), -1)
    level_T, level_A = random.normal(0, 0.4, len(TOPICS)), random.normal(0, 0.5, NUM_ADVERTISERS)
    log_price_P = 3.2 + level_T[truth.topic_of_P] + level_A[advertiser_P] + random.normal(0, 0.4, size.num_pins)
    is_loyal_UA = np.zeros((size.num_people, NUM_ADVERTISERS), dtype=np.bool_)
    for person in range(size.num_people):
        is_loyal_UA[person, random.choice(NUM_ADVERTISERS, LOYAL_TO, replace=False)] = True
    return Shop(
        advertiser_P,
        np.where(is_ad_P, np.exp(log_price_P), 0.0),
        _needs(random, size.num_people, truth),
        random.normal(3.4, 0.6, size.num_people),
        random.normal(0, 0.5, NUM_ADVERTISERS),
        is_loyal_UA,
        truth.vectors_PD,
    )


def _advertisers(
    random: np.random.Generator, topic_P: npt.NDArray[np.int64], homes_AH: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Whose ad each pin would be."""
    found = random.integers(NUM_ADVERTISERS, size=len(topic_P))
    for topic in range(len(TOPICS)):
        at_home = np.flatnonzero((homes_AH == topic).any(axis=1))
        here = np.flatnonzero((topic_P == topic) & (random.random(len(topic_P)) < HOME_SHARE))
        if len(at_home):
            found[here] = random.choice(at_home, len(here))
    return found


def _needs(random: np.random.Generator, num_people: int, truth: Truth) -> Floats:
    """What people need: a share of their taste, the rest of topics of its own. Needs do not drift."""
    centres_TD = np.stack(
        [truth.vectors_PD[truth.topic_of_P == topic].sum(axis=0) for topic in range(len(TOPICS))]
    ) / max(1, len(truth.topic_of_P))
    centres_TD /= np.maximum(np.linalg.norm(centres_TD, axis=1, keepdims=True), 1e-9)
    own = random.dirichlet(np.full(len(TOPICS), 0.12), size=num_people) @ centres_TD
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-9)
    mixed = TASTE_SHARE * truth.tastes_UD + (1 - TASTE_SHARE) * own
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)
