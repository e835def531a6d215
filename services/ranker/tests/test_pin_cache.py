"""The cache of pin features: shared, bounded in pins and so in bytes, never older than it may be."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.metrics import Metrics
from chassis.testing import FakeClock
from services.ranker.domain.ranking import PinFeatures
from services.ranker.outbound.in_memory_pin_cache import CachedPinFeatures
from services.ranker.outbound.in_memory_pin_refresh import PinRefresh

WIDTH = 8
SOON = Deadline.after(60.0)


class Store:
    """Every pin whose name does not begin with "no"; vectors are views into one large answer, as on the wire."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_away = False
        self.price = 1

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        self.asked.append(list(pin_ids))
        if self.is_away:
            raise Unavailable("gone")
        answer = np.ones((1_000, WIDTH), np.float32)
        known = [pin_id for pin_id in pin_ids if not pin_id.startswith("no")]
        return {pin_id: PinFeatures(answer[row], 1, self.price) for row, pin_id in enumerate(known)}


class World:
    def __init__(self, max_pins: int = 3) -> None:
        self.store, self.clock, self.metrics = Store(), FakeClock(), Metrics("test")
        self.cache = CachedPinFeatures(self.store, self.metrics, self.clock, max_pins=max_pins, max_age_s=30.0)
        self.refresh = PinRefresh(self.cache, self.clock, self.metrics)

    async def ask(self, *pin_ids: str) -> Mapping[str, PinFeatures]:
        return await self.cache.features(pin_ids, SOON)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


async def test_only_what_is_not_there_is_asked_for_and_counted() -> None:
    world = World()
    await world.ask("a", "b")
    assert (await world.ask("b", "c")).keys() == {"b", "c"}
    await world.ask("a", "b", "c")
    assert world.store.asked == [["a", "b"], ["c"]]
    assert world.value("pin_cache_lookups_total", outcome="hit") == 4
    assert world.value("pin_cache_lookups_total", outcome="miss") == 3


async def test_the_pin_that_was_used_longest_ago_leaves_first() -> None:
    world = World(max_pins=3)
    await world.ask("a", "b", "c")
    await world.ask("a")
    await world.ask("d")
    await world.ask("a", "c", "d")
    assert world.store.asked == [["a", "b", "c"], ["d"]]
    await world.ask("b")
    assert world.store.asked[-1] == ["b"]


async def test_it_never_holds_more_than_it_may_in_pins_and_bytes() -> None:
    world = World(max_pins=3)
    for number in range(50):
        await world.ask(f"a{number}", f"b{number}", "same")
        assert world.value("pin_cache_pins") <= 3  # type: ignore[operator]
        assert world.value("pin_cache_bytes") == 4.0 * WIDTH * (world.value("pin_cache_pins") or 0)
    await world.ask(*(f"many{number}" for number in range(500)))
    assert (world.value("pin_cache_pins"), world.value("pin_cache_bytes")) == (3, 3 * 4.0 * WIDTH)


async def test_a_kept_vector_does_not_hold_the_answer_that_it_came_in() -> None:
    world = World()
    await world.ask("a")
    kept = (await world.ask("a"))["a"].content_vector
    assert kept is not None and kept.base is None


async def test_what_is_too_old_is_read_anew() -> None:
    world = World()
    await world.ask("a")
    world.store.price = 2
    world.clock.advance(29.0)
    assert (await world.ask("a"))["a"].price_micros == 1
    world.clock.advance(2.0)
    assert (await world.ask("a"))["a"].price_micros == 2
    assert world.value("pin_cache_pins") == 1


async def test_an_unknown_pin_is_asked_for_again() -> None:
    """It may be enriched at any time."""
    world = World()
    assert await world.ask("nowhere") == {}
    await world.ask("nowhere")
    assert len(world.store.asked) == 2


async def test_a_store_that_is_away_fails_only_who_needs_it() -> None:
    world = World()
    await world.ask("a", "b")
    world.store.is_away = True
    assert (await world.ask("a", "b")).keys() == {"a", "b"}
    with pytest.raises(Unavailable):
        await world.ask("a", "c")
    world.store.is_away = False
    assert (await world.ask("a", "c")).keys() == {"a", "c"}


async def test_pins_in_use_are_asked_for_again_before_anybody_waits_for_them() -> None:
    world = World()
    await world.ask("used", "left")
    world.clock.advance(20.0)
    world.store.price = 2
    await world.ask("used")
    await world.refresh.refresh()
    assert world.store.asked[1:] == [["used"]], "young ones and those that nobody asks for are left in peace"
    world.clock.advance(14.0)
    assert (await world.ask("used"))["used"].price_micros == 2
    assert world.store.asked[2:] == []
    assert world.value("pin_cache_refreshes_total", outcome="ok") == 1


async def test_a_refresh_that_fails_costs_nothing_but_a_count() -> None:
    world = World()
    await world.ask("a")
    world.clock.advance(20.0)
    await world.ask("a")
    world.store.is_away = True
    await world.refresh.refresh()
    assert world.value("pin_cache_refreshes_total", outcome="failed") == 1
    assert (await world.ask("a")).keys() == {"a"}


async def test_a_pin_that_left_is_not_refreshed() -> None:
    world = World(max_pins=2)
    await world.ask("a", "b")
    world.clock.advance(20.0)
    await world.ask("a", "b")
    await world.ask("c", "d")
    assert world.cache.take_ageing(10) == []
