"""The engine: nothing lost, nothing twice, poison alone, look-ups batched."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid, Unavailable
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment, OnMissing
from sequences.definitions.testing import repository_definitions
from sequences.engine.engine import Engine
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.lookup import CachedLookup, CacheLimits
from sequences.engine.plan import plan_for
from sequences.engine.registry import EXECUTORS
from sequences.testing import InMemoryLookup, events_batch, run

PIN_ROW = {"topics": ["art"], "advertiser_id": "", "price_micros": 20_000_000, "created_time_ms": 1_699_999_999_000}


class Custom:
    """An executor made of a function."""

    name = "custom"
    lookup_column = ""

    def __init__(self, work: Callable[[pa.RecordBatch], ExecutorResult]) -> None:
        self._work = work
        self.sizes: list[int] = []

    def check(self, enrichment: Enrichment) -> list[str]:
        return []

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:
        self.sizes.append(batch.num_rows)
        return self._work(batch)


def engine_with(work: Callable[[pa.RecordBatch], ExecutorResult], timeout_s: float = 5.0) -> Engine:
    step = Enrichment(
        name="step",
        owner="t",
        executor="custom",
        timeout_s=timeout_s,
        reads=("event_id",),
        writes=(Column(name="x", type="int64"),),
    )
    return Engine(plan_for(assemble([step]), executors={"custom": Custom(work)}))


def number(batch: pa.RecordBatch) -> ExecutorResult:
    return ExecutorResult({"x": pa.array(range(batch.num_rows), pa.int64())})


def test_repository_definitions_enrich_an_event() -> None:
    events = [
        {"event_type": "long_view", "attributes": b'{"dwell_s": 12.5}'},
        {"event_type": "search", "pin_id": "", "attributes": '{"query": "  Red\u00a0\\n CHAIRS "}'.encode()},
    ]
    rows = run(repository_definitions(), events, pins={"p-1": PIN_ROW}).batch.to_pylist()
    assert rows[0]["dwell_s"] == 12.5
    assert rows[0]["pin_topics"] == ["art"]
    assert rows[0]["pin_price_band"] == 2
    assert (rows[0]["hour_of_day"], rows[0]["day_of_week"]) == (22, 1)  # Tuesday 2023-11-14 22:13 UTC
    assert rows[0]["pin_age_h"] == pytest.approx(1 / 3600)
    assert rows[1]["query_normalised"] == "red chairs"
    assert rows[1]["pin_topics"] is None


def test_output_has_the_declared_columns() -> None:
    definitions = repository_definitions()
    names = enriched_schema(definitions).names
    assert run(definitions, [{}]).batch.schema.names == names[:-2]
    assert run(definitions, events_batch([])).batch.schema.names == names[:-2]


def test_filters_count_what_they_remove() -> None:
    result = run(
        repository_definitions(),
        [
            {"user_id": "bot-7"},
            {"event_type": "long_view", "attributes": b'{"dwell_s":0.2}'},
            {"event_id": "kept"},
        ],
    )
    assert result.filtered == {"drop_bots": 1, "min_dwell": 1}
    assert result.rows.tolist() == [2]


@given(
    st.lists(
        st.sampled_from(
            [
                ("click", b""),
                ("long_view", b'{"dwell_s":0.5}'),
                ("long_view", b'{"dwell_s":9}'),
                ("long_view", b"{}"),
                ("rating", b'{"rating":99}'),
                ("gone", b""),
                ("click", b"\xff"),
                ("search", b'{"query":"a"}'),
            ]
        ),
        max_size=40,
    )
)
@settings(max_examples=25, deadline=None)
def test_every_row_is_enriched_filtered_or_failed_exactly_once(kinds: list[tuple[str, bytes]]) -> None:
    events = [{"event_id": str(row), "event_type": kind, "attributes": raw} for row, (kind, raw) in enumerate(kinds)]
    result = run(repository_definitions(), events_batch(events))
    failed = [failure.row for failure in result.failures]
    assert result.batch.num_rows + sum(result.filtered.values()) + len(failed) == len(kinds)
    assert not set(failed) & set(result.rows.tolist())
    assert result.batch.column("event_id").to_pylist() == [str(row) for row in result.rows]


async def test_a_batch_that_raises_is_halved_until_the_poison_stands_alone() -> None:
    poison = {3, 200}

    def work(batch: pa.RecordBatch) -> ExecutorResult:
        ids = {int(each) for each in batch.column("event_id").to_pylist()}
        if ids & poison:
            raise RuntimeError("bad byte")
        return ExecutorResult({"x": pa.array([int(each) for each in batch.column("event_id").to_pylist()])})

    result = await engine_with(work).run(events_batch([{"event_id": str(row)} for row in range(256)]))
    assert [(each.row, each.reason) for each in result.failures] == [
        (3, "RuntimeError: bad byte"),
        (200, "RuntimeError: bad byte"),
    ]
    assert result.batch.column("x").to_pylist() == [row for row in range(256) if row not in poison]


@pytest.mark.parametrize(
    "answer",
    [
        ExecutorResult({}),
        ExecutorResult({"y": pa.array([1])}),
        ExecutorResult({"x": pa.array(["text"])}),
        ExecutorResult({"x": pa.array([1, 2, 3], pa.int64())}),
        ExecutorResult({"x": pa.array([1], pa.int64())}, keep=np.ones(2, np.bool_)),
        ExecutorResult({"x": pa.array([1], pa.int64())}, failures={7: "?"}),
    ],
)
async def test_an_answer_against_the_contract_fails_the_row(answer: ExecutorResult) -> None:
    result = await engine_with(lambda _: answer).run(events_batch([{}]))
    assert result.batch.num_rows == 0
    assert "BadResultError" in result.failures[0].reason


def spin(cpu_s: float) -> None:
    """Use so much CPU time of this thread."""
    started_s = time.thread_time()
    while time.thread_time() - started_s < cpu_s:
        pass


async def test_an_executor_that_takes_too_long_fails_only_its_row() -> None:
    def work(batch: pa.RecordBatch) -> ExecutorResult:
        if "slow" in batch.column("event_id").to_pylist():
            spin(0.8)
        return number(batch)

    result = await engine_with(work, timeout_s=0.1).run(events_batch([{"event_id": "slow"}, {"event_id": "b"}]))
    assert [each.row for each in result.failures] == [0]
    assert "took longer" in result.failures[0].reason


async def test_wrong_columns_are_refused() -> None:
    with pytest.raises(Invalid, match="event_id"):
        await engine_with(number).run(pa.record_batch({"user_id": ["u"]}))


def looking_up(on_missing: OnMissing) -> Definitions:
    return assemble(
        [
            Enrichment(
                name="pins",
                owner="t",
                executor="lookup_pin",
                reads=("pin_id",),
                on_missing=on_missing,
                writes=(Column(name="pin_price_band", type="int32", default=9),),
            )
        ]
    )


async def test_one_look_up_per_batch_and_none_while_cached() -> None:
    source = InMemoryLookup({"p-1": PIN_ROW})
    engine = Engine(plan_for(looking_up("null")), CachedLookup(source, CacheLimits(missing_ttl_s=60)))
    batch = events_batch([{"pin_id": "p-1"}, {"pin_id": "p-2"}, {"pin_id": "p-1"}, {"pin_id": ""}])
    for _ in range(2):
        result = await engine.run(batch)
    assert source.calls == [["p-1", "p-2"]]
    assert result.batch.column("pin_price_band").to_pylist() == [0, None, 0, None]


@pytest.mark.parametrize(("on_missing", "expected"), [("null", [None]), ("default", [9]), ("park", [])])
async def test_missing_rows_follow_on_missing(on_missing: OnMissing, expected: list[Any]) -> None:
    result = await Engine(plan_for(looking_up(on_missing))).run(events_batch([{}]))
    assert result.batch.column("pin_price_band").to_pylist() == expected
    assert len(result.failures) == (on_missing == "park")


async def test_an_outage_gives_nulls_and_a_rest_unless_the_look_up_must_not_be_missing() -> None:
    source = InMemoryLookup({"p-1": PIN_ROW})
    source.error = Unavailable("indexer is away")
    engine = Engine(plan_for(looking_up("null")), CachedLookup(source))
    for _ in range(3):
        assert (await engine.run(events_batch([{}]))).batch.column("pin_price_band").to_pylist() == [None]
    assert len(source.calls) == 1
    with pytest.raises(Unavailable):
        await Engine(plan_for(looking_up("park")), CachedLookup(source)).run(events_batch([{}]))


def test_every_executor_is_registered_under_its_name() -> None:
    assert {
        "validate_schema",
        "dedupe_window",
        "drop_bots",
        "min_dwell",
        "lookup_pin",
        "semantic_id",
        "sessionise",
        "time_features",
        "content_vector",
        "normalise_text",
        "hash_ids",
    } == set(EXECUTORS)
