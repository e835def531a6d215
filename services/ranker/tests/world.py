"""A small world with two tastes and everything outside of the ranker as fakes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from modeling.arrays import AnyArray, Floats
from modeling.interactions import History
from modeling.tests.dataset_files import served_requests
from modeling.training_data import PinTable, TrainingData
from sequences.request_batch import RequestBatch
from services.ranker.domain.candidates import Candidates, RankCandidate
from services.ranker.domain.ranking import Payload, PinFeatures, Scores, SequenceEvent, UserSequence

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


def training_data(
    num_users: int = 80, num_events: int = 15, served: Callable[[], Iterable[RequestBatch]] | None = None
) -> TrainingData:
    """Every user likes pins of one taste only."""
    random = np.random.default_rng(7)
    histories = []
    for user in range(num_users):
        liked = [number for number in range(NUM_PINS) if number % 2 == user % 2]
        numbers = random.choice(liked, num_events, replace=False)
        times = [NOW_MS - 100_000_000 + 3_600_000 * step for step in range(num_events)]
        types = ["save" if number % 3 else "click" for number in numbers]
        histories.append(History(f"user-{user}", [pin_id(n) for n in numbers], types, times))
    pins = PinTable(
        tuple(pin_id(number) for number in range(NUM_PINS)),
        np.stack([vector(number) for number in range(NUM_PINS)]),
        tuple((f"taste-{number % 2}",) for number in range(NUM_PINS)),
        np.full(NUM_PINS, NOW_MS - 200_000_000),
        np.zeros(NUM_PINS, dtype=np.int64),
    )
    return TrainingData("dataset-test", tuple(histories), pins, served)


def candidates(numbers: Sequence[int], **scores: float) -> Candidates:
    return Candidates.of(
        [RankCandidate(pin_id(number), 1.0 / (1 + rank), rank, scores) for rank, number in enumerate(numbers)]
    )


def event(number: int, age_s: float = 3_600.0, trace: int = 0, kind: str = "save") -> SequenceEvent:
    traceparent = f"00-{trace:032x}-{trace:016x}-01" if trace else ""
    return SequenceEvent(f"event-{number}", kind, pin_id(number), NOW_MS - int(age_s * 1_000), traceparent)


class FakeSequences:
    """Sequences in memory; `error` is raised instead when it is set."""

    def __init__(self) -> None:
        self.by_user: dict[str, UserSequence] = {}
        self.error: CorkboardError | None = None
        self.num_calls = 0

    async def recent(self, user_id: str, deadline: Deadline) -> UserSequence:
        self.num_calls += 1
        if self.error:
            raise self.error
        return self.by_user.get(user_id, UserSequence())


class FakePins:
    """Every pin of the world is known; `vectors` replaces some; `error` is raised instead when it is set."""

    def __init__(self) -> None:
        self.error: CorkboardError | None = None
        self.vectors: dict[str, Floats] = {}
        self.asked: list[Sequence[str]] = []

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        self.asked.append(pin_ids)
        if self.error:
            raise self.error
        known = [name for name in pin_ids if name.startswith("pin-")]
        vectors = {name: self.vectors.get(name, vector(int(name[4:]))) for name in known}
        return {name: PinFeatures(vectors[name], NOW_MS - 10_000_000, 5_000_000, "hash-1") for name in known}


class FakeScorer:
    """Answers with `probability` per head and candidate, or raises `error`."""

    def __init__(self, probability: Sequence[float] = ()) -> None:
        self.probability = probability
        self.error: CorkboardError | None = None
        self.seen: list[Mapping[str, AnyArray]] = []
        self.versions: list[str] = []
        self.current_version = ""
        self.defaulted_inputs: tuple[str, ...] = ()

    async def score(self, payload: Payload, user_id: str, sequence_version: int, deadline: Deadline) -> Scores:
        self.seen.append(payload.tensors)
        self.versions.append(payload.model_version)
        if self.error:
            raise self.error
        column = np.asarray(self.probability, dtype=np.float32)
        heads = {"click": column, "save": np.zeros_like(column)}
        return Scores(heads, "ranker", "v1", self.defaulted_inputs, self.current_version)


def served(num_requests: int = 20, served_time_ms: int = NOW_MS - 60_000_000) -> Callable[[], Iterable[RequestBatch]]:
    """Feeds in which every user saves what is of the own taste and hides the rest; in half of them nothing is done."""
    requests = []
    for number in sorted(range(num_requests), key=str):
        pins = [_shown(position, position % 2 == number % 2) for position in range(6)]
        events = [(pin_id(10 + number % 2), "save", served_time_ms - 1_000)]
        requests += [
            {**_request(number, "acted", served_time_ms), "pins": pins, "events": events},
            {**_request(number, "ignored", served_time_ms), "pins": [_shown(p, None) for p in range(6)], "events": []},
        ]
    return lambda: [served_requests(requests)]


def _request(number: int, name: str, served_time_ms: int) -> dict[str, Any]:
    user_id = f"user-{number}"
    return {
        "user_id": user_id,
        "request_id": f"{user_id}-{name}",
        "served_time_ms": served_time_ms,
        "surface": "home",
    }


def _shown(number: int, is_liked: bool | None) -> dict[str, Any]:
    return {"pin_id": pin_id(number), "saved": is_liked is True, "hidden": is_liked is False}
