"""Simulates weeks of sessions: what was shown, what people did with it, late events, bots and rare conversions."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corkboard.world.pins import pin_id
from corkboard.world.truth import DAY_MS, LIKING_SCALE, Truth, WorldSize
from protos.blender.v1 import blender_pb2
from protos.ingest.v1 import ingest_pb2

BOT_SHARE = 0.01
LATE_SHARE = 0.02
LATE_MS = 3 * 3_600_000
SHORTLIST = 120  # pins the old recommender looked at for one session
ACTIONS = ("click", "long_view", "save", "share", "hide", "conversion")


@dataclass(frozen=True)
class Session:
    """One served feed of the past and the events that followed it."""

    feed: blender_pb2.ServedFeed
    events: list[ingest_pb2.Event]


def person_id(index: int) -> str:
    """The id of the world's person number `index`."""
    return f"person-{index:05d}"


def make_past(size: WorldSize, truth: Truth, now_ms: int) -> Iterator[Session]:
    """All sessions in time order; the last one ends a few minutes before `now_ms`."""
    random = np.random.default_rng(size.seed + 2)
    popularity_P = random.pareto(1.3, size.num_pins) + 0.2
    num_sessions = size.num_people * size.num_sessions_per_person
    ages_ms = np.sort(random.random(num_sessions) * size.num_days * DAY_MS)[::-1] + 300_000
    people = random.permutation(np.arange(num_sessions) % size.num_people)
    num_bots = max(1, int(size.num_people * BOT_SHARE))
    for number, (age_ms, person) in enumerate(zip(ages_ms, people, strict=True)):
        share = 1 - age_ms / (size.num_days * DAY_MS + 300_000)
        shown = _old_recommender(random, truth, int(person), share, popularity_P, size.num_pins_per_session)
        yield _session(random, truth, number, int(person), share, shown, now_ms - int(age_ms), person < num_bots)


def in_order_of_arrival(events: Iterable[ingest_pb2.Event], seed: int) -> list[ingest_pb2.Event]:
    """Mostly in the order in which things happened; a few events come hours late."""
    listed = list(events)
    random = np.random.default_rng(seed)
    is_late = random.random(len(listed)) < LATE_SHARE
    delay_ms = np.where(is_late, random.exponential(LATE_MS, len(listed)), 0.0)
    order = np.argsort(np.array([event.event_time_ms for event in listed]) + delay_ms, kind="stable")
    return [listed[index] for index in order]


def _old_recommender(
    random: np.random.Generator, truth: Truth, person: int, share: float, popularity_P: npt.NDArray[np.float64], k: int
) -> npt.NDArray[np.int64]:
    """A mediocre feed: half by a noisy guess of taste, half by popularity and chance; so logs have both labels."""
    num_pins = len(popularity_P)
    shortlist = random.choice(num_pins, min(SHORTLIST, num_pins), p=popularity_P / popularity_P.sum(), replace=False)
    guess = truth.affinity(person, shortlist, share) + random.normal(0, 0.3, len(shortlist))
    best = shortlist[np.argsort(-guess)[: k // 2]]
    rest = random.permutation(np.setdiff1d(shortlist, best))[: k - len(best)]
    return np.asarray(random.permutation(np.concatenate([best, rest])), dtype=np.int64)


def _session(
    random: np.random.Generator,
    truth: Truth,
    number: int,
    person: int,
    share: float,
    shown: npt.NDArray[np.int64],
    start_ms: int,
    is_bot: bool,
) -> Session:
    request_id = f"past-{number:06d}"
    liking = (truth.affinity(person, shown, share) - 0.25) / LIKING_SCALE
    events = [
        event
        for position, (pin, like) in enumerate(zip(shown.tolist(), liking.tolist(), strict=True))
        for event in _reactions(
            random, request_id, person, pin, like - 0.04 * position, start_ms + 4_000 * position, is_bot
        )
    ]
    feed = blender_pb2.ServedFeed(
        request_id=request_id,
        user_id=person_id(person),
        surface="home",
        served_time_ms=start_ms,
        candidates=[
            blender_pb2.ServedCandidate(
                pin_id=pin_id(pin), position=position, generator="popular", rank_by_score=position
            )
            for position, pin in enumerate(shown.tolist())
        ],
    )
    return Session(feed, events)


def _reactions(
    random: np.random.Generator, request_id: str, person: int, pin: int, like: float, time_ms: int, is_bot: bool
) -> Iterator[ingest_pb2.Event]:
    """A person's reactions to one pin; probabilities follow the liking."""
    for action in _drawn(random, like, is_bot):
        delay_ms = min(120_000, int(random.exponential(60_000))) if action == "conversion" else 0
        at_ms = time_ms + 1_500 + delay_ms
        attributes = _attributes(random, action, like)
        yield ingest_pb2.Event(
            event_id=f"{request_id}-{pin}-{action}",
            user_id=person_id(person),
            event_type=action,
            event_time_ms=at_ms,
            pin_id=pin_id(pin),
            surface="home",
            request_id=request_id,
            attributes_json=json.dumps(attributes).encode(),
        )


def _drawn(random: np.random.Generator, like: float, is_bot: bool) -> list[str]:
    if is_bot:
        return ["click"]
    click = random.random() < _logistic(like - 1.6)
    drawn = ["click"] if click else []
    if click and random.random() < _logistic(like - 0.5):
        drawn.append("long_view")
    if random.random() < _logistic(like - 2.6):
        drawn.append("save")
    if click and random.random() < 0.04 * _logistic(like):
        drawn.append("share")
    if click and random.random() < 0.03 * _logistic(like):
        drawn.append("conversion")
    if not drawn and random.random() < 0.25 * _logistic(-like - 2.0):
        drawn.append("hide")
    return drawn


def _attributes(random: np.random.Generator, action: str, like: float) -> dict[str, float]:
    if action == "long_view":
        return {"dwell_s": round(float(10 + random.exponential(20) * (1 + max(0.0, like))), 1)}
    if action == "conversion":
        return {"value_micros": int(random.lognormal(3.2, 0.8) * 1e6)}
    return {}


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))
