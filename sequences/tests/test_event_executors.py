"""Executors of events against slow references that look at one row at a time."""

import hashlib
import math
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid
from sequences.definitions.attributes import parse_attributes
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.testing import repository_definitions
from sequences.engine.executor import Lookups
from sequences.engine.registry import EXECUTORS
from sequences.tests.executor_runs import TEXTS, TIMES_MS, in_parts, run_alone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENTS = repository_definitions().events
CONTENTS = st.sampled_from([b"", b"{}", b"\xff", b"[]", b'{"dwell_s":3}', b'{"rating":4.5}', b'{"rating":99}', b"{"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["click", "save"]), TIMES_MS, TEXTS), max_size=30),
    st.integers(1, 100_000),
    st.lists(st.integers(0, 30), max_size=3),
)
def test_repeats_share_a_key_and_nothing_else_does(rows: list[Any], window_s: int, borders: list[int]) -> None:
    found = []
    for part in in_parts(rows, borders):
        kinds, times, items = ([row[place] for row in part] for place in range(3))
        columns = {
            "event_type": pa.array(kinds, pa.string()),
            "event_time_ms": pa.array(times, pa.int64()),
            "pin_id": pa.array(items, pa.string()),
        }
        found += run_alone("dedupe_window", columns, {"k": "string"}, {"window_s": window_s}).columns["k"].to_pylist()
    expected = [f"{kind}:{math.floor(time / (window_s * 1000))}:{item}" if item else None for kind, time, item in rows]
    assert found == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["ann", "bob", "zoë"]), TIMES_MS), max_size=40),
    st.integers(1, 7 * 86_400),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_a_session_is_a_stretch_of_one_user(rows: list[Any], session_s: int, borders: list[int]) -> None:
    found: list[tuple[int, int]] = []
    for part in in_parts(rows, borders):
        columns = {
            "user_id": pa.array([user for user, _ in part], pa.string()),
            "event_time_ms": pa.array([time_ms for _, time_ms in part], pa.int64()),
        }
        writes = {"session_id": "int64", "session_start_ms": "int64"}
        answer = run_alone("sessionise", columns, writes, {"session_s": session_s}).columns
        found += zip(answer["session_id"].to_pylist(), answer["session_start_ms"].to_pylist(), strict=True)
    stretches = defaultdict(set)
    for (user, time_ms), (session, start_ms) in zip(rows, found, strict=True):
        assert start_ms <= time_ms < start_ms + session_s * 1000
        assert start_ms % (session_s * 1000) == shift_ms(user, session_s)
        stretches[session].add((user, start_ms))
    assert all(len(each) == 1 for each in stretches.values())
    assert len(stretches) == len({(user, start) for (user, _), (_, start) in zip(rows, found, strict=True)})


def shift_ms(user: str, session_s: int) -> int:
    digest = hashlib.blake2b(user.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) % (session_s * 1000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*EVENTS, "gone"]), CONTENTS), max_size=25))
def test_attributes_are_parsed_as_one_by_one(rows: list[tuple[str, bytes]]) -> None:
    columns = {
        "event_type": pa.array([kind for kind, _ in rows], pa.string()),
        "attributes": pa.array([content for _, content in rows], pa.binary()),
    }
    writes = {"dwell_s": "float32", "rating": "float32"}
    result = run_alone("validate_schema", columns, writes, {}, Lookups(EVENTS))
    for row, (kind, content) in enumerate(rows):
        try:
            parsed = parse_attributes(EVENTS[kind], content)
        except KeyError:
            assert result.failures[row] == f"unknown event type {kind!r}"
        except Invalid as error:
            assert result.failures[row] == f"{error.reason}: {error.message}"
        else:
            assert row not in result.failures
            assert {name: result.columns[name][row].as_py() for name in writes} == {n: parsed.get(n) for n in writes}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["", "a", "b", "unknown"]), max_size=25),
    st.lists(st.integers(0, 50), min_size=0, max_size=4).map(sorted),
    st.integers(0, 60),
)
def test_pins_are_looked_up_as_one_by_one(pin_ids: list[str], bands: list[int], price: int) -> None:
    known: dict[str, dict[str, Any]] = {
        "a": {
            "topics": ["x", "y"],
            "price_micros": price,
            "advertiser_id": "",
            "created_time_ms": 0,
            "semantic_id": [3, 1],
        },
        "b": {"topics": [], "price_micros": None, "advertiser_id": "ad", "created_time_ms": 7},
    }
    writes = {
        "pin_topics": "list<string>",
        "pin_price_band": "int32",
        "pin_created_time_ms": "int64",
        "pin_advertiser_id": "string",
        "pin_semantic_id": "list<int32>",
    }
    columns = {"pin_id": pa.array(pin_ids, pa.string())}
    result = run_alone("lookup_pin", columns, writes, {"price_bands_micros": bands}, Lookups(rows=known))
    assert result.missing is not None
    for row, pin_id in enumerate(pin_ids):
        pin = known.get(pin_id)
        assert result.missing[row] == (pin is None)
        expected = pin and {
            "pin_topics": pin["topics"],
            "pin_price_band": bisect_right(bands, pin["price_micros"] or 0),
            "pin_created_time_ms": pin["created_time_ms"] or None,
            "pin_advertiser_id": pin["advertiser_id"],
            "pin_semantic_id": pin.get("semantic_id"),
        }
        assert {name: result.columns[name][row].as_py() for name in writes} == (expected or dict.fromkeys(writes))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES_MS, st.none() | TIMES_MS), max_size=20))
def test_time_features_are_those_of_the_calendar(rows: list[tuple[int, int | None]]) -> None:
    columns = {
        "event_time_ms": pa.array([time_ms for time_ms, _ in rows], pa.int64()),
        "pin_created_time_ms": pa.array([created_ms for _, created_ms in rows], pa.int64()),
    }
    writes = {"hour_of_day": "int32", "day_of_week": "int32", "pin_age_h": "float32"}
    found = run_alone("time_features", columns, writes, {}).columns
    for row, (time_ms, created_ms) in enumerate(rows):
        moment = EPOCH + timedelta(milliseconds=time_ms)
        assert (found["hour_of_day"][row].as_py(), found["day_of_week"][row].as_py()) == (
            moment.hour,
            moment.weekday(),
        )
        age_h = None if created_ms is None else pytest.approx(max(0.0, (time_ms - created_ms) / 3.6e6), rel=1e-6)
        assert found["pin_age_h"][row].as_py() == age_h


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"]), max_size=10)))
def test_text_is_normalised_as_one_by_one(texts: list[str | None]) -> None:
    found = run_alone("normalise_text", {"t": pa.array(texts, pa.string())}, {"n": "string"}, {}).columns["n"]
    for text, normal in zip(texts, found.to_pylist(), strict=True):
        assert (normal is None) == (text is None)
        if text is not None and text.isascii():
            plain = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text.lower())
            assert normal == " ".join(plain.split())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | TEXTS, max_size=20), st.sampled_from([0, 1, 7, 1000]))
def test_ids_are_hashed_as_one_by_one(ids: list[str | None], num_buckets: int) -> None:
    parameters = {"num_buckets": num_buckets}
    found = run_alone("hash_ids", {"i": pa.array(ids, pa.string())}, {"h": "int64"}, parameters).columns["h"]
    for text, number in zip(ids, found.to_pylist(), strict=True):
        if text is None:
            assert number is None
        else:
            expected = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
            assert number == (expected % num_buckets if num_buckets else expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.none() | st.floats(0, 10, width=32)), max_size=20))
def test_filters_keep_what_their_rule_says(rows: list[tuple[str, float | None]]) -> None:
    users = pa.array([user for user, _ in rows], pa.string())
    kept = run_alone("drop_bots", {"user_id": users}, {}, {"user_id_prefixes": ["a", "0"]}).keep
    assert kept is not None
    assert kept.tolist() == [not user.startswith(("a", "0")) for user, _ in rows]
    dwells = pa.array([dwell_s for _, dwell_s in rows], pa.float32())
    kept = run_alone("min_dwell", {"dwell_s": dwells}, {}, {"min_dwell_s": 1.5}).keep
    assert kept is not None
    assert kept.tolist() == [dwell_s is None or dwell_s >= 1.5 for _, dwell_s in rows]


@pytest.mark.parametrize(
    ("executor", "reads", "writes", "parameters", "problem"),
    [
        ("dedupe_window", "event_type event_time_ms pin_id", "k:string", {}, "'window_s' is missing"),
        ("dedupe_window", "event_type event_time_ms pin_id", "k:string", {"window_s": 0}, "at least 1"),
        ("dedupe_window", "event_time_ms pin_id", "k:string", {"window_s": 1}, "must read event_type"),
        ("dedupe_window", "event_type event_time_ms pin_id", "k:int64", {"window_s": 1}, "one string column"),
        ("sessionise", "user_id event_time_ms", "session_id:string", {"session_s": 9}, "cannot write"),
        ("sessionise", "user_id event_time_ms", "session_id:int64", {"session_s": 10**9}, "session_s must be in"),
        ("sessionise", "user_id", "session_id:int64", {"session_s": 9}, "must read"),
        ("semantic_id", "v", "c:list<int32>", {"codebooks": "2x2x2:AAA"}, "codebooks must be"),
        ("semantic_id", "v", "c:list<int32>", {"codebooks": "2x2x2:AAA="}, "hold 1 numbers"),
    ],
)
def test_a_wrong_definition_is_named(
    executor: str, reads: str, writes: str, parameters: dict[str, Any], problem: str
) -> None:
    name, kind = writes.split(":")
    columns = (Column.model_validate({"name": name, "type": kind}),)
    step = Enrichment(
        name="e", owner="t", executor=executor, reads=tuple(reads.split()), writes=columns, parameters=parameters
    )
    assert any(problem in each for each in EXECUTORS[executor].check(step)), EXECUTORS[executor].check(step)
