"""Simulates weeks of sessions: what was shown, what people did with it, late events, bots and rare conversions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corkboard.world.pins import pin_ages_ms, pin_id
from corkboard.world.reactions import ACTIONS, Shown, reactions
from corkboard.world.shopping import Shop, make_shop
from corkboard.world.truth import DAY_MS, LIKING_SCALE, Truth, WorldSize
from protos.blender.v1 import blender_pb2
from protos.ingest.v1 import ingest_pb2

__all__ = ["ACTIONS", "BOT_SHARE", "Session", "in_order_of_arrival", "make_past", "person_id"]

BOT_SHARE = 0.01
LATE_SHARE = 0.02
LATE_MS = 3 * 3_600_000
SHORTLIST = 120  # pins the old recommender looked at for one session
ADS_SHORTLIST = 40
AD_NOISE = 1.5  # of the old ads server's guess of what a person wants

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Session:
    """One served feed of the past and the events that followed it."""

    feed: blender_pb2.ServedFeed
    events: list[ingest_pb2.Event]


@dataclass(frozen=True)
class _World:
    size: WorldSize
    truth: Truth
    shop: Shop
    popularity_P: npt.NDArray[np.float64]
    age_ms_P: npt.NDArray[np.float64]
    now_ms: int

    def is_there_P(self, time_ms: int) -> npt.NDArray[np.bool_]:
        """Which pins had been created by then."""
        return self.now_ms - self.age_ms_P <= time_ms


@dataclass(frozen=True)
class _Visit:
    request_id: str
    person: int
    share: float
    start_ms: int
    is_bot: bool


def person_id(index: int) -> str:
    """The id of the world's person number `index`."""
    return f"person-{index:05d}"


def make_past(size: WorldSize, truth: Truth, now_ms: int) -> Iterator[Session]:
    """All sessions in time order; the last one ends a few minutes before `now_ms`."""
    random = np.random.default_rng(size.seed + 2)
    world = _World(
        size, truth, make_shop(size, truth), random.pareto(1.3, size.num_pins) + 0.2, pin_ages_ms(size), now_ms
    )
    num_sessions = size.num_people * size.num_sessions_per_person
    ages_ms = np.sort(random.random(num_sessions) * size.num_days * DAY_MS)[::-1] + 300_000
    people = random.permutation(np.arange(num_sessions) % size.num_people)
    num_bots = max(1, int(size.num_people * BOT_SHARE))
    for number, (age_ms, person) in enumerate(zip(ages_ms, people, strict=True)):
        share = 1 - age_ms / (size.num_days * DAY_MS + 300_000)
        visit = _Visit(f"past-{number:06d}", int(person), share, now_ms - int(age_ms), bool(person < num_bots))
        yield _session(random, world, visit)


def in_order_of_arrival(events: Iterable[ingest_pb2.Event], seed: int) -> list[ingest_pb2.Event]:
    """Mostly in the order in which things happened; a few events come hours late."""
    listed = list(events)
    random = np.random.default_rng(seed)
    is_late = random.random(len(listed)) < LATE_SHARE
    delay_ms = np.where(is_late, random.exponential(LATE_MS, len(listed)), 0.0)
    order = np.argsort(np.array([event.event_time_ms for event in listed]) + delay_ms, kind="stable")
    return [listed[index] for index in order]


def _session(random: np.random.Generator, world: _World, visit: _Visit) -> Session:
    shown = _old_recommender(random, world, visit)
    like_K = (world.truth.affinity(visit.person, shown, visit.share) - 0.25) / LIKING_SCALE
    wanting_K = world.shop.wanting(visit.person, shown)
    events: list[ingest_pb2.Event] = []
    for position, pin in enumerate(shown.tolist()):
        seen = Shown(
            visit.request_id,
            person_id(visit.person),
            pin_id(pin),
            visit.start_ms + 4_000 * position,
            float(like_K[position]) - 0.04 * position,
            float(wanting_K[position]) if world.shop.advertiser_P[pin] >= 0 else None,
            visit.is_bot,
        )
        events += reactions(random, seen)
    return Session(_feed(visit, shown), events)


def _feed(visit: _Visit, shown: Ints) -> blender_pb2.ServedFeed:
    return blender_pb2.ServedFeed(
        request_id=visit.request_id,
        user_id=person_id(visit.person),
        surface="home",
        served_time_ms=visit.start_ms,
        candidates=[
            blender_pb2.ServedCandidate(
                pin_id=pin_id(pin), position=position, generator="popular", rank_by_score=position
            )
            for position, pin in enumerate(shown.tolist())
        ],
    )


def _old_recommender(random: np.random.Generator, world: _World, visit: _Visit) -> Ints:
    """A mediocre feed: half by a noisy guess of taste, half by popularity and chance; so logs have both labels."""
    ads = _old_ads_server(random, world, visit)
    k = world.size.num_pins_per_session - len(ads)
    weight_P = world.popularity_P * (world.shop.advertiser_P < 0) * world.is_there_P(visit.start_ms)
    num_shortlisted = min(SHORTLIST, int((weight_P > 0).sum()))
    shortlist = random.choice(len(weight_P), num_shortlisted, p=weight_P / weight_P.sum(), replace=False)
    guess = world.truth.affinity(visit.person, shortlist, visit.share) + random.normal(0, 0.3, len(shortlist))
    best = shortlist[np.argsort(-guess)[: k // 2]]
    rest = random.permutation(np.setdiff1d(shortlist, best))[: k - len(best)]
    return np.asarray(random.permutation(np.concatenate([best, rest, ads])), dtype=np.int64)


def _old_ads_server(random: np.random.Generator, world: _World, visit: _Visit) -> Ints:
    """Half by a noisy guess of what the person wants, half by chance."""
    is_there_P, k = world.is_there_P(visit.start_ms), world.size.num_ads_per_session
    ads = world.shop.ads[is_there_P[world.shop.ads]]
    shortlist = random.choice(ads, min(ADS_SHORTLIST, len(ads)), replace=False) if len(ads) else ads
    guess = world.shop.wanting(visit.person, shortlist) + random.normal(0, AD_NOISE, len(shortlist))
    best = shortlist[np.argsort(-guess)[: (k + 1) // 2]]
    rest = random.permutation(np.setdiff1d(shortlist, best))[: k - len(best)]
    return np.concatenate([best, rest]).astype(np.int64)
