"""What a feed promises while every part behind it does as it likes, over a thousand schedules in virtual time.

The stages, shares of time, fallbacks and memories are the real ones; what a peer does (answers in some time, refuses,
hangs, answers nothing or nonsense) is drawn for each feed. `SEED=7 python -m pytest … -k replay` runs one alone.
"""

import logging
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Unavailable
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.testing import VirtualClock, run_virtually
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions
from services.blender.app.catalogue import Catalogue
from services.blender.app.feature_memory import FeatureMemory
from services.blender.app.feed_page import FeedPage
from services.blender.app.feed_stages import Memory, Peers, feed_pipelines
from services.blender.app.get_feed import GetFeed
from services.blender.app.popular_memory import PopularMemory
from services.blender.app.served_memory import ServedMemory
from services.blender.app.slate_loop import SlateLoop
from services.blender.domain.candidate import Candidate
from services.blender.domain.candidates import Candidates, no_candidates
from services.blender.domain.feed_request import FeedRequest
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.scores import Scores, falling_evenly
from services.blender.domain.served_feed import ServedFeed
from services.blender.domain.session import Session
from services.blender.outbound.grpc_indexer import features_of
from services.blender.ports import Ranking, Retrieved, User
from services.blender.tests.fake_peers import pin_rows

T = TypeVar("T")
FEW, MANY = range(1_000), range(1_000, 6_000)
FEEDS_PER_SCHEDULE = 4
DEADLINE_S = 0.225
EPSILON_S = 0.001
NUM_PINS = 40
PAGE_SIZE = 10
MOODS = ("ok", "ok", "ok", "slow", "refuse", "hang", "empty", "nonsense")
BLOCKED = tuple(f"pin-{number}" for number in range(0, NUM_PINS, 2))
ALL = features_of(pin_rows([f"pin-{number}" for number in range(NUM_PINS)]))


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return repository_definitions()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class World:
    """Every port of blender; `moods` says how each peer feels now."""

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self.rng, self.clock = random.Random(seed), clock
        self.moods: dict[str, str] = {}
        self.is_fixed = False
        self.served: list[ServedFeed] = []
        self._sessions: dict[tuple[str, int], Session] = {}

    def draw(self) -> None:
        """A new mood of each peer."""
        if not self.is_fixed:
            self.moods = {peer: self.rng.choice(MOODS) for peer in ("users", "pins", "cg", "ranker", "sessions")}

    async def meet(self, peer: str, answer: Callable[[], T], nothing: T) -> T:
        """The peer's answer, after its time. Raises: Unavailable."""
        mood = self.moods.get(peer, "ok")
        await self.clock.sleep(self.rng.uniform(0.001, 0.03))
        if mood == "slow":
            await self.clock.sleep(self.rng.uniform(0.02, 0.3))
        if mood == "hang":
            await self.clock.sleep(30.0)
        if mood == "refuse":
            raise Unavailable(f"{peer} refuses")
        return nothing if mood == "empty" else answer()

    def admit(self, resource: str, cost: float = 1.0) -> None:
        pass

    async def get_user(self, user_id: str, surface: str) -> User:
        return await self.meet("users", lambda: User(seen=("pin-1", "pin-2"), blocked=BLOCKED), User())

    async def get_pins(self, pin_ids: Sequence[str]) -> PinFeatures:
        return await self.meet("pins", lambda: ALL.select(pin_ids), ALL.select([]))

    async def retrieve(
        self, request: FeedRequest, num_candidates: int, exclude: Sequence[str], history: bytes
    ) -> Retrieved:
        pins = [pin for pin in (f"pin-{n}" for n in range(NUM_PINS)) if pin not in exclude]
        if self.moods.get("cg") == "nonsense":
            pins = pins * 2
        found = [Candidate(pin, "popular", 1.0 / (1 + n), n, {"popular": 1.0}) for n, pin in enumerate(pins)]
        candidates = Candidates.of(found[:num_candidates])
        return await self.meet("cg", lambda: Retrieved(candidates, {}), Retrieved(no_candidates(), {}))

    async def popular(self, surface: str, locale: str, num_candidates: int) -> Sequence[Candidate]:
        raise AssertionError("nobody refreshes here")

    async def rank(
        self,
        request: FeedRequest,
        request_id: str,
        candidates: Candidates,
        versions: Mapping[str, str],
        history: bytes,
    ) -> Ranking:
        value = math.nan if self.moods.get("ranker") == "nonsense" else 0.5
        value_P = np.full(len(candidates), value)
        scores = Scores(candidates.pin_ids, value_P, ("save",), value_P[:, None])
        return await self.meet("ranker", lambda: Ranking(scores, {}), Ranking(falling_evenly(()), {}))

    async def load(self, session_id: str, page: int) -> Session:
        return await self.meet("sessions", lambda: self._sessions[session_id, page], None)  # type: ignore[arg-type]

    async def save(self, session_id: str, page: int, session: Session) -> None:
        await self.meet("sessions", lambda: self._sessions.update({(session_id, page): session}), None)

    def put(self, feed: ServedFeed) -> None:
        self.served.append(feed)


@dataclass
class Seen:
    """One feed of a schedule."""

    moods: Mapping[str, str]
    took_s: float
    page: FeedPage | None = None
    error: Exception | None = None
    broken: list[str] = field(default_factory=list)


Build = Callable[[World, Definitions], GetFeed]


def build(world: World, definitions: Definitions) -> GetFeed:
    """As wiring does, on the ports of a world."""
    any_port: Any = world
    peers = Peers(any_port, any_port, any_port, any_port, any_port, any_port)
    memory = Memory(PopularMemory(200), ServedMemory(100, world.clock))
    metrics = Metrics("simulated")
    pipelines = feed_pipelines(peers, memory, SlateLoop(), clock=world.clock, session_timeout_s=0.05, metrics=metrics)
    features = FeatureMemory(1_000, 30.0, world.clock)
    return GetFeed(Catalogue(Health(), definitions), any_port, features, pipelines, metrics)


async def simulate(
    seed: int, definitions: Definitions, build_: Build, moods: Mapping[str, str] | None, clock: VirtualClock
) -> list[Seen]:
    world = World(seed, clock)
    get_feed = build_(world, definitions)
    seen, had_popular = [], False
    for number in range(FEEDS_PER_SCHEDULE):
        world.draw()
        if moods is not None:
            world.moods, world.is_fixed = dict(moods), True
        request = FeedRequest(f"person-{seed}-{number}", "home", PAGE_SIZE)
        began_s = clock.monotonic_s()
        one = Seen(dict(world.moods), 0.0)
        try:
            one.page = await get_feed(request, None, Deadline.after(DEADLINE_S, clock))
        except CorkboardError as error:
            one.error = error
        one.took_s = clock.monotonic_s() - began_s
        one.broken = broken_promises(one, had_popular)
        had_popular = had_popular or (
            one.page is not None and one.moods["cg"] in ("ok", "nonsense") and bool(one.page.items)
        )
        seen.append(one)
        await clock.sleep(1.0)
    return seen


def broken_promises(one: Seen, had_popular: bool) -> list[str]:
    """What does not hold of one feed; empty = everything does. `had_popular`: popular pins had been seen before."""
    if one.page is None:
        return [f"no answer: {one.error!r}"]
    pins = [each.candidate.pin_id for each in one.page.items]
    named = {each.component for each in one.page.degradations}
    cannot = {peer for peer, mood in one.moods.items() if mood in ("refuse", "hang")}
    wanted = {"users": "indexer", "cg": "cg"}
    found = {
        "late": one.took_s > DEADLINE_S + EPSILON_S,
        "twice": len(pins) != len(set(pins)),
        "empty": not pins and had_popular,
        "silent_emptiness": not pins and not named,
        "not_a_number": any(not math.isfinite(each.candidate.score) for each in one.page.items),
        "blocked": one.moods["users"] in ("ok", "nonsense") and not set(pins).isdisjoint(BLOCKED),
        "unnamed": any(wanted[peer] not in named for peer in cannot & set(wanted)),
        "ranker_unnamed": "ranker" in cannot and pins and "ranker" not in named,
    }
    return [name for name, is_broken in found.items() if is_broken]


def run(
    seed: int, definitions: Definitions, build_: Build = build, moods: Mapping[str, str] | None = None
) -> list[Seen]:
    return run_virtually(lambda clock: simulate(seed, definitions, build_, moods, clock))


def failing(seeds: range, definitions: Definitions) -> Mapping[int, Any]:
    results = {seed: [(one.moods, one.broken) for one in run(seed, definitions) if one.broken] for seed in seeds}
    return {seed: broken for seed, broken in results.items() if broken}


@pytest.mark.timeout(240)
def test_every_promise_holds_in_many_schedules(definitions: Definitions) -> None:
    assert failing(FEW, definitions) == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_promise_holds_in_thousands_of_schedules(definitions: Definitions) -> None:
    assert failing(MANY, definitions) == {}


@pytest.mark.skipif("SEED" not in os.environ, reason="replays the schedule of SEED")
def test_replay(definitions: Definitions) -> None:
    assert [one for one in run(int(os.environ["SEED"]), definitions) if one.broken] == []


def test_a_run_is_the_same_again(definitions: Definitions) -> None:
    first, again = ([(one.took_s, one.moods) for one in run(7, definitions)] for _ in range(2))
    assert first == again


def patient(world: World, definitions: Definitions) -> GetFeed:
    """Gives every feed seconds."""
    get_feed = build(world, definitions)

    async def call(request: FeedRequest, cursor: Any, _: Deadline) -> FeedPage:
        return await get_feed(request, cursor, Deadline.after(5.0, world.clock))

    return call  # type: ignore[return-value]


def silent(world: World, definitions: Definitions) -> GetFeed:
    """Names nothing that is missing."""
    get_feed = build(world, definitions)

    async def call(request: FeedRequest, cursor: Any, deadline: Deadline) -> FeedPage:
        return replace(await get_feed(request, cursor, deadline), degradations=())

    return call  # type: ignore[return-value]


def strict(world: World, definitions: Definitions) -> GetFeed:
    """Has no answer when a part has none."""
    get_feed = build(world, definitions)

    async def call(request: FeedRequest, cursor: Any, deadline: Deadline) -> FeedPage:
        page = await get_feed(request, cursor, deadline)
        if page.degradations:
            raise Unavailable("a part is away")
        return page

    return call  # type: ignore[return-value]


def doubling(world: World, definitions: Definitions) -> GetFeed:
    """Shows the first pin again at the end."""
    get_feed = build(world, definitions)

    async def call(request: FeedRequest, cursor: Any, deadline: Deadline) -> FeedPage:
        page = await get_feed(request, cursor, deadline)
        return replace(page, items=(*page.items, *page.items[:1]))

    return call  # type: ignore[return-value]


def shameless(world: World, definitions: Definitions) -> GetFeed:
    """Does not look at what a person blocked."""

    async def nobody_blocks(user_id: str, surface: str) -> User:
        return User()

    world.get_user = nobody_blocks  # type: ignore[method-assign]
    return build(world, definitions)


def credulous(world: World, definitions: Definitions) -> GetFeed:
    """Passes on whatever the ranker says."""
    get_feed = build(world, definitions)

    async def call(request: FeedRequest, cursor: Any, deadline: Deadline) -> FeedPage:
        page = await get_feed(request, cursor, deadline)
        items = [replace(each, candidate=replace(each.candidate, score=math.nan)) for each in page.items]
        return replace(page, items=items)

    return call  # type: ignore[return-value]


WELL = dict.fromkeys(("users", "pins", "cg", "ranker", "sessions"), "ok")
MUTANTS: list[tuple[str, Build, Mapping[str, str]]] = [
    ("late", patient, WELL | {"ranker": "hang"}),
    ("unnamed", silent, WELL | {"cg": "refuse"}),
    ("silent_emptiness", silent, WELL | {"cg": "empty"}),
    ("ranker_unnamed", silent, WELL | {"ranker": "refuse"}),
    ("no answer: Unavailable('a part is away')", strict, WELL | {"ranker": "refuse"}),
    ("twice", doubling, WELL),
    ("blocked", shameless, WELL),
    ("not_a_number", credulous, WELL),
]


@pytest.mark.parametrize(
    ("promise", "mutant", "moods"), MUTANTS, ids=[f"{one[1].__name__} {one[0]}" for one in MUTANTS]
)
def test_each_promise_catches_a_planted_fault(
    definitions: Definitions, promise: str, mutant: Build, moods: Mapping[str, str]
) -> None:
    assert [one.broken for one in run(1, definitions, moods=moods) if one.broken] == []
    assert promise in [broken for one in run(1, definitions, mutant, moods) for broken in one.broken]
