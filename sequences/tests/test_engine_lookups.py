"""Look-ups that are dead, slow or wrong: rows follow `on_missing`, and one that must not be missing waits."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from chassis.errors import Corrupt, Unavailable
from chassis.testing import FakeClock
from sequences.definitions.definitions import assemble
from sequences.definitions.enrichment import Column, Enrichment, OnMissing
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup, CacheLimits, LookupSource
from sequences.engine.plan import plan_for
from sequences.engine.result import StepRun
from sequences.testing import InMemoryLookup, events_batch

PIN = {"price_micros": 20}
TIMEOUT_S = 0.5


class Counting:
    """Remembers the outcomes of look-ups."""

    def __init__(self) -> None:
        self.lookups: list[tuple[str, int, int]] = []

    def on_step(self, run: StepRun) -> None:
        pass

    def on_lookup(self, outcome: str, num_keys: int, num_fetched: int, duration_s: float) -> None:
        self.lookups.append((outcome, num_keys, num_fetched))


class Answering:
    """A source made of a function of the keys."""

    def __init__(self, answer: Callable[[Sequence[str]], Any], after_s: float = 0.0) -> None:
        self.answer, self.after_s = answer, after_s
        self.num_calls = self.in_hand = self.most_in_hand = 0

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self.num_calls, self.in_hand = self.num_calls + 1, self.in_hand + 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        try:
            await asyncio.sleep(self.after_s)
            found: Mapping[str, Mapping[str, Any]] = self.answer(keys)
            return found
        finally:
            self.in_hand -= 1


def dead(_: Sequence[str]) -> Any:
    raise Unavailable("indexer is away")


def broken(_: Sequence[str]) -> Any:
    raise KeyError("a fault of the source")


def engine_of(
    source: LookupSource, on_missing: OnMissing, counting: Counting | None = None, max_concurrency: int = 4
) -> Engine:
    step = Enrichment(
        name="pins",
        owner="t",
        executor="lookup_pin",
        reads=("pin_id",),
        on_missing=on_missing,
        timeout_s=TIMEOUT_S,
        parameters={"price_bands_micros": [10]},
        writes=(Column(name="pin_price_band", type="int32", default=9),),
    )
    lookup = CachedLookup(source, CacheLimits(rest_s=0.0), observer=counting)
    return Engine(plan_for(assemble([step])), lookup, max_concurrency=max_concurrency)


TROUBLES = [
    (Answering(dead), "Unavailable"),
    (Answering(broken), "Unavailable"),
    (Answering(lambda keys: dict.fromkeys(keys, PIN), after_s=5.0), "DeadlineExceeded"),
    (Answering(lambda _: ["no rows by key"]), "Corrupt"),
    (Answering(lambda keys: dict.fromkeys(keys, "no row")), "Corrupt"),
]


@pytest.mark.parametrize(("on_missing", "expected"), [("null", None), ("default", 9)])
@pytest.mark.parametrize(("source", "outcome"), TROUBLES)
async def test_a_source_in_trouble_leaves_what_the_definition_says(
    source: Answering, outcome: str, on_missing: OnMissing, expected: int | None
) -> None:
    counting = Counting()
    result = await engine_of(source, on_missing, counting).run(events_batch([{}, {"event_id": "b"}]))
    assert result.batch.column("pin_price_band").to_pylist() == [expected, expected]
    assert counting.lookups == [(outcome, 1, 1)]
    assert not result.failures


@pytest.mark.parametrize(("source", "outcome"), TROUBLES)
async def test_rows_that_need_the_answer_wait_for_it_and_are_not_failed(source: Answering, outcome: str) -> None:
    engine = engine_of(source, "park")
    with pytest.raises(Unavailable, match="cannot look up 1 keys"):
        await engine.run(events_batch([{}]))
    good = Answering(lambda keys: dict.fromkeys(keys, PIN))
    engine._lookup._source = good
    assert (await engine.run(events_batch([{}]))).batch.column("pin_price_band").to_pylist() == [1]


async def test_a_row_with_values_of_another_type_fails_alone() -> None:
    source = InMemoryLookup({"p-1": PIN, "p-2": {"price_micros": "dear"}})
    rows = [{"event_id": str(row), "pin_id": f"p-{row % 3}"} for row in range(9)]
    result = await engine_of(source, "null").run(events_batch(rows))
    assert [failure.row for failure in result.failures] == [2, 5, 8]
    assert all("TypeError" in failure.reason for failure in result.failures)
    assert result.batch.column("pin_price_band").to_pylist() == [None, 1] * 3


async def test_rows_for_keys_that_nobody_asked_for_are_ignored() -> None:
    source = Answering(lambda _: {"p-1": PIN, "p-9": {"price_micros": "dear"}})
    result = await engine_of(source, "null").run(events_batch([{}, {"pin_id": "p-2"}]))
    assert result.batch.column("pin_price_band").to_pylist() == [1, None]


async def test_batches_in_hand_are_bounded() -> None:
    source = Answering(lambda keys: dict.fromkeys(keys, PIN), after_s=0.02)
    engine = engine_of(source, "null", max_concurrency=3)
    batches = [events_batch([{"event_id": str(n), "pin_id": f"p-{n}"}]) for n in range(12)]
    results = await asyncio.gather(*map(engine.run, batches))
    assert source.most_in_hand == 3
    assert [result.batch.column("event_id").to_pylist() for result in results] == [[str(n)] for n in range(12)]


async def test_an_answer_is_kept_for_its_time_and_a_missing_key_for_a_shorter_one() -> None:
    clock, source = FakeClock(), InMemoryLookup({"a": PIN})
    lookup = CachedLookup(source, CacheLimits(ttl_s=60, missing_ttl_s=1), clock=clock)
    for after_s, asked in ((0.0, ["a", "b"]), (0.9, []), (0.2, ["b"]), (60.0, ["a", "b"])):
        clock.advance(after_s)
        source.calls.clear()
        assert await lookup.get(["a", "b", "a"], 1.0) == ({"a": PIN}, True)
        assert [key for call in source.calls for key in call] == asked


async def test_the_cache_forgets_the_key_that_was_unused_for_longest() -> None:
    source = InMemoryLookup({key: PIN for key in "abc"})
    lookup = CachedLookup(source, CacheLimits(max_rows=2))
    for key in ("a", "b", "a", "c", "a", "b"):
        await lookup.get([key], 1.0)
    assert source.calls == [["a"], ["b"], ["c"], ["b"]]


async def test_a_corrupt_answer_is_not_remembered() -> None:
    source = InMemoryLookup({"a": PIN})
    source.error = Corrupt("garbage")
    lookup = CachedLookup(source, CacheLimits(rest_s=0.0))
    assert await lookup.get(["a"], 1.0) == ({}, False)
    source.error = None
    assert await lookup.get(["a"], 1.0) == ({"a": PIN}, True)
