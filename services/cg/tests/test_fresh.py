"""Fresh pins of the user's topics, with slots for what few people were shown."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chassis.testing import eventually
from protos.blender.v1.blender_pb2 import ServedCandidate, ServedFeed
from protos.topics import FEEDS_SERVED
from services.cg.domain.generators.fresh import FreshPins
from services.cg.domain.impressions import Impressions
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import HistoryEvent, RetrievalQuery
from services.cg.tests.running_cg import running_cg
from services.cg.tests.world import NOW_MS, NUM_PINS, pin, pin_id


def _query(seed: int = 0, liked: tuple[int, ...] = (), num_pins: int = NUM_PINS) -> RetrievalQuery:
    index = PinIndex()
    for number in range(num_pins):
        index.upsert(pin(number))
    snapshot = index.snapshot()
    history = tuple(HistoryEvent(pin_id(number), "save", NOW_MS) for number in liked)
    return RetrievalQuery(snapshot, snapshot.allowed(PinFilter()), NOW_MS, history, seed=seed)


def _numbers(generator: FreshPins, query: RetrievalQuery, k: int) -> list[int]:
    return [int(query.snapshot.pin_ids[row][-3:]) for row in generator.generate(query, k).row_K]


def test_pins_of_the_users_topics_come_before_newer_ones_of_others() -> None:
    numbers = _numbers(FreshPins(), _query(liked=(0, 2, 4)), 35)
    assert numbers[:30] == list(range(58, -1, -2))
    assert numbers[30:] == [59, 57, 55, 53, 51], "what is left is filled with the newest of other topics"


def test_a_share_of_slots_goes_to_pins_that_few_were_shown() -> None:
    impressions = Impressions()
    for number in range(NUM_PINS):
        if number not in (10, 11, 12):
            for _ in range(5):
                impressions.add([pin_id(number)])
    generator = FreshPins(impressions, explore_share=0.2, few_impressions=5)
    numbers = _numbers(generator, _query(), 15)
    assert {10, 11, 12} <= set(numbers), "3 of 15 slots"
    assert [numbers.index(each) for each in (59, 58, 57, 56)] == [0, 1, 2, 3], "the best slot is not explored"
    impressions.add([pin_id(10)] * 5)
    assert 10 not in _numbers(generator, _query(), 15)


def test_the_seed_decides_who_is_explored_and_the_same_seed_says_the_same() -> None:
    generator = FreshPins(explore_share=0.5)
    drawn = {seed: _numbers(generator, _query(seed), 10) for seed in range(8)}
    assert drawn[3] == _numbers(generator, _query(3), 10)
    assert len({tuple(each) for each in drawn.values()}) == 8


@given(st.integers(0, 70), st.floats(0, 1), st.integers(0, 5), st.integers(0, 60))
def test_whatever_is_explored_the_answer_is_unique_and_full(k: int, share: float, seed: int, num_pins: int) -> None:
    generator, query = FreshPins(explore_share=share), _query(seed, (1,), num_pins)
    found = generator.generate(query, k)
    assert len(found.row_K) == min(k, num_pins) == len(set(found.row_K.tolist()))
    assert np.isfinite(found.score_K).all()


def test_the_order_follows_the_index_and_the_filter() -> None:
    index, generator = PinIndex(), FreshPins()
    for number in range(NUM_PINS - 1):
        index.upsert(pin(number))

    def newest(num: int, excluded: tuple[int, ...] = ()) -> list[int]:
        snapshot = index.snapshot()
        allowed = snapshot.allowed(PinFilter(excluded_pins=[pin_id(each) for each in excluded]))
        return _numbers(generator, RetrievalQuery(snapshot, allowed, NOW_MS), num)

    assert newest(2) == [58, 57]
    index.upsert(pin(59))
    assert newest(2) == [59, 58]
    assert newest(1, excluded=tuple(range(1, 60))) == [0], "beyond what is kept in order"
    index.remove(pin_id(59))
    assert newest(2) == [58, 57]
    assert newest(100) == list(range(58, -1, -1))


def test_impressions_forget_what_was_delivered_the_longest_ago() -> None:
    impressions = Impressions(max_pins=2)
    impressions.add(["a", "b", "a", "c"])
    assert [impressions.of(each) for each in ("a", "b", "c", "x")] == [2, 0, 1, 0]


async def test_served_feeds_end_the_exploration_of_a_pin(tmp_path: Path) -> None:
    async with running_cg(tmp_path, fresh_explore_share=0.5, fresh_few_impressions=2) as cg:
        served = [ServedCandidate(pin_id=pin_id(n), position=n if n < 40 else -1) for n in range(50)]
        feed = ServedFeed(request_id="r", user_id="u", candidates=served).SerializeToString()

        async def are_the_shown_ones_gone() -> bool:
            response = await cg.retrieve(generators=["fresh"], num_candidates=20)
            assert len(response.candidates) == 20
            return {int(each.pin_id[-3:]) for each in response.candidates} <= set(range(40, 60))

        await eventually(lambda: _explores_old_ones(cg))
        cg.bus.append(FEEDS_SERVED, b"\xff\xff no feed", b"0", 0, {})
        for _ in range(2):
            cg.bus.append(FEEDS_SERVED, feed, b"0", 0, {})
        await eventually(are_the_shown_ones_gone)


async def _explores_old_ones(cg: object) -> bool:
    response = await cg.retrieve(generators=["fresh"], num_candidates=20)  # type: ignore[attr-defined]
    return any(int(each.pin_id[-3:]) < 40 for each in response.candidates)
