"""Lint finds each planted fault, and its estimates stand against what is measured."""

import random
from typing import Any

import pyarrow as pa
import pytest

from sequences.definitions.columns import sequence_schema
from sequences.definitions.cpu_cost import cpu_costs, cpu_s_per_event, specimens
from sequences.definitions.definition import Definition
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.event_type import Attribute, EventType
from sequences.definitions.lint import lint
from sequences.definitions.sequence import Sequence
from sequences.definitions.storage_cost import storage_cost, storage_costs
from sequences.definitions.testing import made_up_rows, repository_definitions
from sequences.definitions.validate import check

DWELL = Attribute(name="dwell_s", type="float32", minimum=0, maximum=10)
CLICK = EventType(name="click", owner="t", attributes=(DWELL,))
HIDE = EventType(name="hide", owner="t")
SCHEMA = Enrichment(
    name="schema",
    owner="t",
    executor="validate_schema",
    reads=("event_type", "attributes"),
    writes=(Column(name="dwell_s", type="float32"),),
)
CLICKS = Sequence(name="clicks", owner="t", event_types=("click",), columns=("event_id", "event_time_ms", "dwell_s"))
CLEAN: tuple[Definition, ...] = (CLICK, SCHEMA, CLICKS)


def texts(**values: Any) -> Enrichment:
    return Enrichment(
        name="texts",
        owner="t",
        executor="normalise_text",
        reads=("pin_id",),
        writes=(Column(name="words", type="string"),),
        **values,
    )


def found(*definitions: Definition) -> set[tuple[str, str, str]]:
    assembled = assemble(definitions)
    check(assembled)
    return {(each.severity, each.where, each.code) for each in lint(assembled)}


def test_a_clean_set_has_no_findings() -> None:
    assert found(*CLEAN) == set()


def test_the_repositorys_own_definitions_have_no_errors() -> None:
    assert [each for each in lint(repository_definitions()) if each.severity == "error"] == []


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (
            (CLICK, SCHEMA, CLICKS, texts()),
            {
                ("warning", "enrichments/texts", "unused_column"),
                ("warning", "enrichments/texts", "unused_enrichment"),
            },
        ),
        (
            (*CLEAN[:2], HIDE, CLICKS.model_copy(update={"event_types": ("hide",)})),
            {("error", "sequences/clicks", "always_null_column"), ("note", "events/click", "in_no_sequence")},
        ),
        (
            (CLICK, SCHEMA, texts(event_types=("hide",)), HIDE, CLICKS.model_copy(update={"columns": ("words",)})),
            {
                ("error", "sequences/clicks", "always_null_column"),
                ("note", "events/hide", "in_no_sequence"),
                ("warning", "enrichments/schema", "unused_column"),
                ("warning", "enrichments/schema", "unused_enrichment"),
            },
        ),
        (
            (CLICK.model_copy(update={"attributes": (DWELL, Attribute(name="x", type="int64"))}), SCHEMA, CLICKS),
            {("warning", "events/click", "unread_attribute"), ("warning", "events/click", "unbounded_number")},
        ),
        (
            (CLICK, SCHEMA, texts(timeout_s=30), CLICKS.model_copy(update={"columns": ("words", "dwell_s")})),
            {
                ("warning", "sequences/clicks", "timeout_beyond_freshness"),
                ("note", "sequences/clicks", "costly_column"),
            },
        ),
    ],
)
def test_a_planted_fault_is_found(planted: tuple[Definition, ...], expected: set[tuple[str, str, str]]) -> None:
    assert found(*planted) == expected


def test_a_long_string_in_a_sequence_is_a_warning() -> None:
    note = Attribute(name="note", type="string", max_length=4096)
    written = SCHEMA.model_copy(update={"writes": (*SCHEMA.writes, Column(name="note", type="string"))})
    sequence = CLICKS.model_copy(update={"columns": ("event_id", "dwell_s", "note")})
    codes = found(CLICK.model_copy(update={"attributes": (DWELL, note)}), written, sequence)
    assert ("warning", "sequences/clicks", "unbounded_string") in codes


def test_a_sequence_beyond_its_budget_is_an_error() -> None:
    vector = Enrichment(
        name="vector",
        owner="t",
        executor="hash_ids",
        reads=("pin_id",),
        writes=(Column(name="codes", type="list<float32>"),),
    )
    wide = CLICKS.model_copy(update={"columns": ("event_id", "codes"), "max_events": 16_000})
    codes = {(each.severity, each.code) for each in lint(assemble((CLICK, SCHEMA, vector, wide)))}
    assert {("error", "too_wide"), ("warning", "unbounded_column")} <= codes


def test_a_fuller_sequence_costs_more() -> None:
    small, large = (storage_cost(_of(number), _of(number).sequences["clicks"]) for number in (1_000, 2_000))
    assert small.bytes_per_event == large.bytes_per_event
    assert 1.5 < large.bytes_per_user / small.bytes_per_user < 2.0


def _of(max_events: int) -> Definitions:
    return assemble((CLICK, SCHEMA, CLICKS.model_copy(update={"max_events": max_events})))


@pytest.mark.parametrize("name", ["engagement", "negative"])
def test_the_estimate_is_near_what_zstd_makes_of_such_columns(name: str) -> None:
    """Each column of 256 made-up rows compressed alone; the sum may differ by a factor of two, not more."""
    definitions = repository_definitions()
    sequence = definitions.sequences[name]
    rows = made_up_rows(sequence, random.Random(7))
    batch = pa.RecordBatch.from_pylist(rows, schema=sequence_schema(definitions, name))
    measured = sum(_compressed(batch.select([column])) for column in batch.schema.names) / batch.num_rows
    estimated = storage_cost(definitions, sequence).bytes_per_event
    assert 0.5 < estimated / measured < 2.0, f"{estimated:.0f} estimated, {measured:.0f} measured"


def _compressed(batch: pa.RecordBatch) -> int:
    return sum(len(pa.compress(buffer, codec="zstd", asbytes=True)) for buffer in batch.column(0).buffers() if buffer)


def test_every_enrichment_of_events_has_a_measured_cost() -> None:
    definitions = repository_definitions()
    costs = cpu_costs(definitions, 200)
    assert {each.enrichment for each in costs} == {
        name for name, each in definitions.enrichments.items() if each.subject == "event"
    }
    assert all(0 < each.cpu_s_per_row < 0.01 for each in costs)
    click = cpu_s_per_event(definitions, costs, "click")
    assert 0 < click < sum(each.cpu_s_per_row for each in costs)  # a click has no query


def test_made_up_events_pass_their_own_schemas() -> None:
    definitions = repository_definitions()
    batch = specimens(definitions, 20)
    assert set(batch.column("event_type").to_pylist()) == set(definitions.events)
    assert [cost.sequence for cost in storage_costs(definitions)] == ["engagement", "negative"]
