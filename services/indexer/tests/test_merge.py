"""The merge gives each event once, the right row of it, whatever is late, corrected or doubled, wherever W is."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.indexer.domain.identity import PAYLOAD
from services.indexer.domain.lateness import late
from services.indexer.domain.merge import IS_FILTERED, MERGED_ON, Parts, merged

Row = dict[str, Any]
TYPES = ("click", "save")
SCHEMA = pa.schema(
    [(name, pa.int64() if name.endswith("_ms") else pa.string()) for name in MERGED_ON if name != "attributes"]
    + [("attributes", pa.binary()), ("extra", pa.int64())]
)
BATCH_SCHEMA = SCHEMA.append(pa.field(IS_FILTERED, pa.bool_()))


def row(event_id: str = "e", **values: Any) -> Row:
    """A stream row received and processed at 100 under d-1."""
    defaults: Row = {
        "user_id": "u",
        "event_type": "click",
        "event_id": event_id,
        "event_time_ms": 50,
        "received_time_ms": 100,
        "enriched_time_ms": 100,
        "definitions_version": "d-1",
        "pin_id": "p",
        "surface": "home",
        "request_id": "",
        "attributes": b"",
        "extra": 0,
    }
    return defaults | values


def again(source: Row, **values: Any) -> Row:
    """What batch makes of a stream row."""
    return source | {"enriched_time_ms": 1_000, IS_FILTERED: False} | values


def merge(
    stream: Iterable[Row],
    batch: Iterable[Row],
    watermarks_ms: Mapping[str, int],
    in_charge: Mapping[str, Mapping[str, int]] | None = None,
) -> list[Row]:
    parts = Parts(pa.Table.from_pylist(list(stream), SCHEMA), pa.Table.from_pylist(list(batch), BATCH_SCHEMA))
    found: list[Row] = merged(parts, watermarks_ms, in_charge or {}).to_pylist()
    return found


def reference(
    stream: list[Row], batch: list[Row], watermarks_ms: Mapping[str, int], in_charge: Mapping[str, Mapping[str, int]]
) -> list[Row]:
    """One key after another, in plain words."""
    owned = [each for each in batch if each["event_time_ms"] <= watermarks_ms.get(each["event_type"], -1)]
    by_key: dict[Any, list[Row]] = {}
    for each, is_batch in [*((s, False) for s in stream), *((b, True) for b in owned)]:
        key = (each["user_id"], each["event_type"], each["event_id"])
        by_key.setdefault(key, []).append(each | {"is_batch": is_batch})
    found = []
    for rows in by_key.values():
        rows.sort(key=lambda r: (r["received_time_ms"], said(r)))
        newest = [r for at, r in enumerate(rows) if all(said(other) == said(r) for other in rows[at:])]
        best = max(newest, key=lambda r: strength(r, in_charge))
        if not best.get(IS_FILTERED, False):
            found.append({name: best[name] for name in SCHEMA.names})
    return found


def said(each: Row) -> tuple[Any, ...]:
    return tuple(each[name] for name in PAYLOAD)


def strength(each: Row, in_charge: Mapping[str, Mapping[str, int]]) -> tuple[Any, ...]:
    since = in_charge.get(each["event_type"], {}).get(each["definitions_version"], each["enriched_time_ms"])
    return since, each["enriched_time_ms"], each["is_batch"], each["definitions_version"]


def comparable(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    return sorted(tuple(each[name] for name in SCHEMA.names if name != "extra") for each in rows)


some_rows = st.builds(
    row,
    event_id=st.sampled_from(["e1", "e2", "e3"]),
    user_id=st.sampled_from(["u1", "u2"]),
    event_type=st.sampled_from(TYPES),
    event_time_ms=st.integers(0, 9),
    received_time_ms=st.integers(10, 14),
    enriched_time_ms=st.integers(20, 26),
    definitions_version=st.sampled_from(["d-1", "d-2", "d-3"]),
    pin_id=st.sampled_from(["p", "q"]),
    attributes=st.sampled_from([b"", b"{}"]),
)
some_batch = st.builds(lambda r, f: r | {IS_FILTERED: f}, some_rows, st.booleans())
some_watermarks = st.dictionaries(st.sampled_from(TYPES), st.integers(-1, 10))
some_charge = st.dictionaries(
    st.sampled_from(TYPES), st.dictionaries(st.sampled_from(["d-1", "d-2"]), st.integers(15, 30))
)


@settings(max_examples=400, deadline=None)
@given(st.lists(some_rows, max_size=25), st.lists(some_batch, max_size=25), some_watermarks, some_charge)
def test_the_merge_is_that_of_a_slow_reference(
    stream: list[Row],
    batch: list[Row],
    watermarks_ms: Mapping[str, int],
    in_charge: Mapping[str, Mapping[str, int]],
) -> None:
    found = merge(stream, batch, watermarks_ms, in_charge)
    assert comparable(found) == comparable(reference(stream, batch, watermarks_ms, in_charge))
    keys = [(each["user_id"], each["event_type"], each["event_id"]) for each in found]
    assert len(keys) == len(set(keys))


@settings(max_examples=100, deadline=None)
@given(st.lists(some_rows, max_size=20), st.randoms(use_true_random=False), some_watermarks)
def test_the_order_of_rows_and_where_w_is_change_no_set_of_events(
    stream: list[Row], random: Any, watermarks_ms: Mapping[str, int]
) -> None:
    batch = [again(each, enriched_time_ms=30) for each in stream]
    keys = {(each["user_id"], each["event_type"], each["event_id"]) for each in stream}
    found = merge(stream, batch, watermarks_ms)
    assert {(each["user_id"], each["event_type"], each["event_id"]) for each in found} == keys
    assert len(found) == len(keys)
    random.shuffle(stream)
    random.shuffle(batch)
    assert comparable(merge(stream, batch, watermarks_ms)) == comparable(found)


def test_batch_wins_up_to_the_watermark_and_is_not_seen_beyond() -> None:
    stream = [row("a", event_time_ms=50), row("b", event_time_ms=51)]
    batch = [again(each, extra=1) for each in stream]
    assert {r["event_id"]: r["extra"] for r in merge(stream, batch, {"click": 50})} == {"a": 1, "b": 0}
    assert {r["event_id"]: r["extra"] for r in merge(stream, batch, {})} == {"a": 0, "b": 0}


def test_a_late_event_below_the_watermark_is_seen_without_batch() -> None:
    early, late_one = row("a"), row("b", received_time_ms=2_000, enriched_time_ms=2_000)
    found = merge([early, late_one], [again(early, extra=1)], {"click": 60})
    assert {r["event_id"]: r["extra"] for r in found} == {"a": 1, "b": 0}


def test_a_correction_wins_over_batch_even_under_older_definitions_and_may_be_taken_back() -> None:
    first = row(attributes=b"1")
    corrected = row(attributes=b"2", received_time_ms=2_000, enriched_time_ms=2_000)
    back = row(attributes=b"1", received_time_ms=3_000, enriched_time_ms=3_000, extra=7)
    batch, charge = [again(first, definitions_version="d-9")], {"click": {"d-9": 5_000, "d-1": 10}}
    assert [r["attributes"] for r in merge([first, corrected], batch, {"click": 60}, charge)] == [b"2"]
    [found] = merge([first, corrected, back], batch, {"click": 60}, charge)
    assert found["extra"] == 7


def test_a_correction_may_move_an_event_over_the_watermark() -> None:
    first = row(event_time_ms=50)
    corrected = row(event_time_ms=500, received_time_ms=2_000, enriched_time_ms=2_000)
    found = merge([first, corrected], [again(first)], {"click": 60})
    assert [r["event_time_ms"] for r in found] == [500]


def test_a_second_sending_of_the_same_loses_against_the_definitions_in_charge() -> None:
    first, resent = row(), row(received_time_ms=90_000, enriched_time_ms=90_000)
    batch, charge = [again(first, definitions_version="d-2", extra=2)], {"click": {"d-1": 10, "d-2": 900}}
    assert [r["extra"] for r in merge([first, resent], batch, {"click": 60}, charge)] == [2]


def test_an_event_that_batch_filters_is_gone_until_it_is_corrected() -> None:
    first = row()
    gone = again(first, **{IS_FILTERED: True})
    assert merge([first], [gone], {"click": 60}) == []
    assert len(merge([first], [gone], {"click": 49})) == 1
    corrected = row(pin_id="q", received_time_ms=2_000, enriched_time_ms=2_000)
    assert [r["pin_id"] for r in merge([first, corrected], [gone], {"click": 60})] == ["q"]


def test_columns_that_one_part_lacks_are_null() -> None:
    stream = pa.Table.from_pylist([row("a"), row("b", event_time_ms=70)], SCHEMA).append_column("old", pa.array([1, 2]))
    batch = pa.Table.from_pylist([again(row("a"))], BATCH_SCHEMA).append_column("new", pa.array([3]))
    rows = merged(Parts(stream, batch), {"click": 60}, {}).to_pylist()
    assert {r["event_id"]: (r["old"], r["new"]) for r in rows} == {"a": (None, 3), "b": (2, None)}


def test_codes_of_many_values_do_not_overflow() -> None:
    many = [row(f"e{n}", user_id=f"u{n % 97}", pin_id=f"p{n}", received_time_ms=n << 40) for n in range(3_000)]
    found = merge(many, [again(each) for each in many], {"click": 60})
    assert len(found) == 3_000


def test_lateness_is_measured_against_the_bound_of_the_type() -> None:
    rows = [
        row("a", received_time_ms=60),
        row("b", received_time_ms=61),
        row("c", event_type="save", received_time_ms=61),
        row("d", event_type="other", received_time_ms=1 << 50),
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    assert late(table, {"click": 10, "save": 1_000}).tolist() == [False, True, False, False]
    assert late(table.slice(0, 0), {"click": 10}).tolist() == []
