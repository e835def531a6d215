"""Every metric of parity gives what a slow and obvious reference gives."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequences.parity.agreement import field_agreement
from sequences.parity.causes import Evidence, cause_of, count_causes
from sequences.parity.matching import HOUR_MS, match, match_by_hour
from sequences.parity.model_effect import SideScores, model_effect
from sequences.parity.overlap import overlap

Row = tuple[str, str, str, int, int]
EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_type", pa.string()),
        ("event_id", pa.string()),
        ("received_time_ms", pa.int64()),
        ("enriched_time_ms", pa.int64()),
    ]
)
few = st.sampled_from
rows = st.lists(
    st.tuples(few("ab"), few(["save", "click"]), few("xyz"), st.integers(0, 3 * HOUR_MS - 1), st.integers(0, 5)),
    max_size=25,
)


def table(found: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(EVENTS.names, row, strict=True)) for row in found], schema=EVENTS)


def newest(found: list[Row]) -> dict[tuple[str, str, str], int]:
    """Key -> row that is kept: enriched last, of equal ones the later."""
    kept: dict[tuple[str, str, str], int] = {}
    for place, row in enumerate(found):
        if row[:3] not in kept or row[4] >= found[kept[row[:3]]][4]:
            kept[row[:3]] = place
    return kept


@settings(deadline=None)
@given(rows, rows)
def test_matching_is_that_of_sets_of_keys(left: list[Row], right: list[Row]) -> None:
    found, old, new = match(table(left), table(right)), newest(left), newest(right)
    pairs = set(zip(found.left_M.tolist(), found.right_M.tolist(), strict=True))
    assert pairs == {(old[key], new[key]) for key in old.keys() & new.keys()}
    assert set(found.only_left_P.tolist()) == {old[key] for key in old.keys() - new.keys()}
    assert set(found.only_right_Q.tolist()) == {new[key] for key in new.keys() - old.keys()}
    assert found.num_repeated_left == len(left) - len(old)
    assert found.num_repeated_right == len(right) - len(new)


@settings(deadline=None)
@given(rows, rows)
def test_the_match_rate_by_hour_is_intersection_over_union(left: list[Row], right: list[Row]) -> None:
    sides = table(left), table(right)
    times = [side.column("received_time_ms").to_numpy() for side in sides]
    hours = match_by_hour(times[0], times[1], match(*sides), 0, 3 * HOUR_MS)
    assert [hour.hour_ms for hour in hours] == [0, HOUR_MS, 2 * HOUR_MS]
    old, new = newest(left), newest(right)
    for hour in hours:
        ours = {key for key, place in old.items() if left[place][3] // HOUR_MS * HOUR_MS == hour.hour_ms}
        theirs = {
            key for key, place in new.items() if key not in old and right[place][3] // HOUR_MS * HOUR_MS == hour.hour_ms
        } | (ours & new.keys())
        expected = len(ours & theirs) / len(ours | theirs) if ours | theirs else None
        assert hour.rate == expected


def test_hours_that_are_touched_only_in_part_count() -> None:
    nothing = np.zeros(0, np.int64)
    empty = table([])
    assert len(match_by_hour(nothing, nothing, match(empty, empty), HOUR_MS - 1, HOUR_MS + 1)) == 2
    assert len(match_by_hour(nothing, nothing, match(empty, empty), HOUR_MS, 2 * HOUR_MS)) == 1


def agrees(kind: str, a: Any, b: Any) -> bool:
    """One pair of values."""
    if a is None or b is None:
        return a is None and b is None
    if kind == "tolerance":
        return bool((math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 1e-6 + 1e-5 * abs(b))
    if kind == "cosine":
        if len(a) != len(b):
            return False
        norms = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
        if norms == 0:
            return bool(sum(map(abs, a)) == sum(map(abs, b)))
        return bool(sum(x * y for x, y in zip(a, b, strict=True)) / norms >= 0.999)
    return bool(a == b)


maybe = st.none
number = st.floats(-10, 10, width=32) | few([float("nan"), 1.0, 1.000001, 1.1, 0.0])
vector = st.lists(st.floats(-3, 3, width=32).map(lambda x: round(x * 2) / 2), max_size=3)
COLUMNS: dict[str, tuple[pa.DataType, str, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), "equal", few(["", "a", "b"])),
    "whole": (pa.int32(), "equal", st.integers(-2, 2)),
    "flag": (pa.bool_(), "equal", st.booleans()),
    "bytes": (pa.binary(), "equal", few([b"", b"a"])),
    "real": (pa.float64(), "tolerance", number),
    "list": (pa.list_(pa.string()), "equal", st.lists(few(["a", "b"]) | maybe(), max_size=2)),
    "vector": (pa.list_(pa.float32()), "cosine", vector),
}


@pytest.mark.parametrize("name", COLUMNS)
@settings(deadline=None)
@given(data=st.data())
def test_agreement_of_a_column_is_counted_pair_by_pair(name: str, data: st.DataObject) -> None:
    kind_of_value, kind, values = COLUMNS[name]
    pairs = data.draw(st.lists(st.tuples(values | maybe(), values | maybe()), max_size=12))
    sides = [pa.table({name: pa.array([pair[side] for pair in pairs], kind_of_value)}) for side in (0, 1)]
    [found] = field_agreement(*sides)
    assert found.kind == kind
    assert found.num_compared == len(pairs)
    assert found.num_equal == sum(agrees(kind, *pair) for pair in pairs)
    assert found.num_values == sum(pair != (None, None) for pair in pairs)


def test_columns_that_come_go_or_change_type_are_told_apart() -> None:
    left = pa.table({"gone": [1], "same": pa.array([1], pa.int32()), "turned": ["1"], "definitions_version": ["d-1"]})
    right = pa.table({"same": pa.array([1], pa.int64()), "turned": [1], "came": [1.0], "definitions_version": ["d-2"]})
    found = {each.column: (each.kind, each.ratio) for each in field_agreement(left, right)}
    assert found == {
        "came": ("only in new", None),
        "gone": ("only in old", 0.0),
        "same": ("equal", 1.0),
        "turned": ("type changed", 0.0),
    }


def test_a_column_that_went_is_missed_only_where_it_had_values() -> None:
    left, right = pa.table({"a": [1, None], "b": [None, None], "c": [1, 1]}), pa.table({"c": [1, 1]})
    assert [each.ratio for each in field_agreement(left, right)] == [0.5, 1.0, 1.0]


def test_large_types_of_a_lake_are_the_same_as_small_ones() -> None:
    left = pa.table({"a": pa.array(["x"], pa.large_string()), "b": pa.array([["x"]], pa.large_list(pa.large_string()))})
    right = pa.table({"a": pa.array(["x"], pa.string()), "b": pa.array([["x"]], pa.list_(pa.string()))})
    assert [each.ratio for each in field_agreement(left, right)] == [1.0, 1.0]


Sequences = dict[str, list[str]]
sequences = st.dictionaries(few("uvw"), st.lists(few("abcdefgh"), unique=True, max_size=8), max_size=3)


def groups(found: Sequences) -> pa.Table:
    flat = [(group, event, place) for group, events in found.items() for place, event in enumerate(events)]
    names = ("group", "event_id", "event_time_ms")
    schema = pa.schema([("group", pa.string()), ("event_id", pa.string()), ("event_time_ms", pa.int64())])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in flat], schema=schema)


def tau(left: list[str], right: list[str]) -> float:
    """Concordant minus discordant pairs over all pairs."""
    pairs = list(combinations(range(len(common := [event for event in left if event in right])), 2))
    signs = [1 if right.index(common[i]) < right.index(common[j]) else -1 for i, j in pairs]
    return sum(signs) / len(pairs) if pairs else math.nan


@settings(deadline=None)
@given(sequences, sequences)
def test_overlap_order_and_lag_by_user(left: Sequences, right: Sequences) -> None:
    found = overlap(groups(left), groups(right), since_ms=-1_000)
    names = list(dict.fromkeys([each for side in (left, right) for each, events in side.items() if events]))
    assert len(found.jaccard_G) == len(names)
    for at, name in enumerate(names):
        old, new = left.get(name, []), right.get(name, [])
        assert found.jaccard_G[at] == len({*old} & {*new}) / len({*old} | {*new})
        assert found.kendall_G[at] == pytest.approx(tau(old, new), nan_ok=True)
        ends = [len(side) - 1 if side else -1_000 for side in (old, new)]
        assert found.lag_s_G[at] == (ends[1] - ends[0]) / 1000


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_the_effect_on_a_model_is_counted_candidate_by_candidate(num_users: int, num_pins: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    sides = [
        SideScores(dice.random((num_users, num_pins, 2)), dice.integers(0, 4, (num_users, num_pins)).astype(float))
        for _ in range(2)
    ]
    found = model_effect(*sides)
    for user in range(num_users):
        changes = [
            max(
                abs(sides[0].probability_RCH[user, pin, head] - sides[1].probability_RCH[user, pin, head])
                for head in (0, 1)
            )
            for pin in range(num_pins)
        ]
        assert found.score_delta_R[user] == pytest.approx(sum(changes) / num_pins)
        tops = [set(sorted(range(num_pins), key=lambda pin: (-side.utility_RC[user, pin], pin))[:10]) for side in sides]
        assert found.top_overlap_R[user] == pytest.approx(len(tops[0] & tops[1]) / min(10, num_pins))


def test_causes_are_told_apart_and_counted() -> None:
    kept, filtered = Evidence(), Evidence(filtered_by="min_dwell")
    assert cause_of(kept)[0] == "unknown"
    assert cause_of(Evidence(is_found_later=True, filtered_by="x"))[0] == "late"
    assert cause_of(Evidence(failure="attributes: bad")) == ("schema error", "attributes: bad")
    assert cause_of(Evidence(is_id_held=True))[0] == "deduplicated"
    assert cause_of(filtered) == ("filtered", "min_dwell")
    found = count_causes("new", [filtered, kept, filtered])
    assert next((each.cause, each.detail, each.num_events) for each in found) == ("filtered", "min_dwell", 2)
    assert sum(each.num_events for each in found) == 3
