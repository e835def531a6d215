"""A long history is cut to the newest events and the older ones nearest to what is ranked."""

import numpy as np

from services.ranker.domain.history_selection import select_events
from services.ranker.domain.ranking import PinFeatures, SequenceEvent
from services.ranker.tests.world import NOW_MS, candidates, pin_id, vector

EVENTS = tuple(SequenceEvent(f"e{n}", "save", pin_id(n), NOW_MS + n) for n in range(20))  # even and odd tastes in turn
PINS = {pin_id(n): PinFeatures(vector(n), 0, 0) for n in range(60)}


def _kept(wanted: list[int], pins: dict[str, PinFeatures] = PINS, max_events: int = 8) -> list[int]:
    kept = select_events(EVENTS, candidates(wanted), pins, max_events=max_events, num_newest=4)
    return [int(event.event_id[1:]) for event in kept]


def test_a_short_history_stays_as_it_is() -> None:
    assert select_events(EVENTS, candidates([1]), PINS, max_events=20, num_newest=4) is EVENTS


def test_the_newest_always_stay_and_the_older_ones_are_of_the_candidates_taste() -> None:
    for taste in (0, 1):
        kept = _kept([40 + taste, 42 + taste])
        assert kept == sorted(kept)
        assert kept[-4:] == [16, 17, 18, 19]
        assert {number % 2 for number in kept[:-4]} == {taste}


def test_without_any_vector_the_newest_are_left() -> None:
    assert _kept([40], {}) == list(range(12, 20))


def test_pins_of_another_width_are_no_neighbours_and_no_error() -> None:
    wide = PINS | {pin_id(3): PinFeatures(np.ones(3, np.float32), 0, 0), pin_id(40): PinFeatures(vector(40), 0, 0)}
    assert 3 not in _kept([40], wide)


def test_fewer_events_than_the_newest_share_are_all_newest() -> None:
    assert _kept([40], max_events=3) == [17, 18, 19]
