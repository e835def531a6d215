"""Histories become arrays in order; windows never look ahead or at another user."""

import numpy as np

from modeling.history_window import windows_at_end, windows_before
from modeling.interactions import History, Interactions, collect, leave_last_out


def _two_users() -> Interactions:
    return collect(
        [
            History("u1", ["a", "b", "c"], ["click", "hide", "save"], [30, 20, 10]),
            History("u2", ["b", "d"], ["save", "click"], [1, 2]),
        ],
        ["a", "b", "c"],
    )


def test_events_are_sorted_filtered_and_unknown_pins_added() -> None:
    events = _two_users()
    assert events.pin_ids == ("a", "b", "c", "d")
    assert events.pin_E.tolist() == [2, 0, 1, 3]
    assert events.starts.tolist() == [0, 2, 4]


def test_leave_last_out_hides_the_newest_event_of_each_user() -> None:
    train, label = leave_last_out(_two_users())
    assert label.tolist() == [0, 3]
    assert train.pin_E.tolist() == [2, 1]


def test_a_pin_acted_upon_twice_is_one_choice_and_hidden_whole() -> None:
    events = collect(
        [
            History("u0", [], [], []),
            History("u1", ["a", "b", "b"], ["click", "click", "save"], [1, 2, 3]),
            History("u2", ["c", "c"], ["click", "save"], [1, 2]),
            History("u3", [], [], []),
        ],
        ["a", "b", "c"],
    )
    assert events.is_new.tolist() == [True, True, False, True, False]
    train, label = leave_last_out(events)
    assert label.tolist() == [-1, 1, -1, -1]
    assert train.pin_E.tolist() == [0, 2, 2]


def test_windows_hold_only_earlier_events_of_the_same_user() -> None:
    events = _two_users()
    window = windows_before(events, np.asarray([1, 2]), 3)
    assert window.pin_BL.tolist() == [[-1, -1, 2], [-1, -1, -1]]
    assert windows_at_end(events, 2).pin_BL.tolist() == [[2, 0], [1, 3]]
