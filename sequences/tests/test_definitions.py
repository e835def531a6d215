"""Definitions: collected, validated, compared, compiled twice."""

from pathlib import Path
from typing import Any

import pytest

from chassis.bundles.store import BundleStore
from chassis.errors import Corrupt, Invalid
from sequences.definitions import bundle
from sequences.definitions.columns import enriched_schema, sequence_schema
from sequences.definitions.compile import compile_definitions, write_bundle
from sequences.definitions.compile_run import CompileLimits
from sequences.definitions.definition import Definition
from sequences.definitions.definitions import Definitions, assemble, parse
from sequences.definitions.diff import diff, unversioned_changes
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.event_type import Attribute, EventType
from sequences.definitions.sequence import Filter, Sequence
from sequences.definitions.spacing_class import SpacingClass
from sequences.definitions.testing import ROOT, repository_definitions
from sequences.definitions.validate import validate

CLICK = EventType(name="click", owner="t")
SCHEMA = Enrichment(
    name="schema",
    owner="t",
    executor="validate_schema",
    reads=("event_type", "attributes"),
    writes=(Column(name="dwell_s", type="float32"),),
)


def codes(*definitions: Definition) -> set[str]:
    return {problem.code for problem in validate(assemble(definitions))}


def text(name: str, reads: str, writes: str) -> Enrichment:
    return Enrichment(
        name=name, owner="t", executor="normalise_text", reads=(reads,), writes=(Column(name=writes, type="string"),)
    )


def write(root: Path, content: str, name: str = "events/a.py") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    return root


def test_repository_definitions_are_valid_and_keep_their_names() -> None:
    definitions = repository_definitions()
    assert set(definitions.events) == {
        "impression",
        "click",
        "save",
        "long_view",
        "hide",
        "share",
        "conversion",
        "search",
        "rating",
    }
    assert definitions.sequences["engagement"].max_events == 2048
    assert set(definitions.surfaces) == {"home", "related", "search"}


def test_every_sequence_column_is_in_the_enriched_schema() -> None:
    definitions = repository_definitions()
    enriched = enriched_schema(definitions)
    for name in definitions.sequences:
        for field in sequence_schema(definitions, name):
            assert enriched.field(field.name).type == field.type


def test_a_valid_set_has_no_problems() -> None:
    assert codes(CLICK, SCHEMA) == set()


def test_unknown_executor_is_named() -> None:
    assert codes(SCHEMA.model_copy(update={"executor": "magic"})) == {"unknown_executor"}


def test_a_cycle_is_found() -> None:
    assert codes(text("a", "x", "y"), text("b", "y", "x")) == {"cycle"}
    assert codes(text("own", "x", "x")) == {"cycle"}


def test_column_type_conflicts_are_found() -> None:
    other = Enrichment(
        name="other", owner="t", executor="hash_ids", reads=("pin_id",), writes=(Column(name="dwell_s", type="int64"),)
    )
    assert codes(SCHEMA, other) == {"column_type_conflict"}
    assert codes(text("a", "pin_id", "event_time_ms")) == {"column_type_conflict"}
    assert codes(text("a", "pin_id", "surface")) == {"column_written_twice"}
    whole = EventType(name="a", owner="t", attributes=(Attribute(name="x", type="int64"),))
    words = EventType(name="b", owner="t", attributes=(Attribute(name="x", type="string"),))
    assert codes(whole, words) == {"column_type_conflict"}


def test_two_with_one_id_are_refused() -> None:
    with pytest.raises(Invalid, match="two definitions of kind EventType are named 'click'"):
        assemble([CLICK, EventType(name="click", owner="other")])


def test_a_sequence_must_read_what_somebody_writes() -> None:
    sequence = Sequence(name="s", owner="t", event_types=("click",), columns=("event_id", "mood"))
    assert codes(CLICK, sequence) == {"unknown_column"}


def test_a_filter_needs_its_column() -> None:
    sequence = Sequence(
        name="s",
        owner="t",
        event_types=("click",),
        columns=("event_id",),
        filters=(Filter(column="mood", operator="==", value=1),),
    )
    assert codes(CLICK, sequence) == {"filter_on_missing_column"}


@pytest.mark.parametrize(
    ("column", "operator", "value", "expected"),
    [
        ("event_time_ms", ">", 5, set()),
        ("surface", "in", ["home", "search"], set()),
        ("surface", "==", "home", set()),
        ("dwell_s", ">=", 1.5, set()),
        ("event_time_ms", ">", "yesterday", {"filter_type_mismatch"}),
        ("surface", "==", 3, {"filter_type_mismatch"}),
        ("surface", "==", ["home"], {"filter_type_mismatch"}),
        ("surface", "in", [], {"filter_type_mismatch"}),
        ("dwell_s", "<", None, {"filter_type_mismatch"}),
    ],
)
def test_a_filter_must_be_decidable(column: str, operator: Any, value: Any, expected: set[str]) -> None:
    condition = Filter(column=column, operator=operator, value=value)
    sequence = Sequence(name="s", owner="t", event_types=("click",), columns=("event_id",), filters=(condition,))
    assert codes(CLICK, SCHEMA, sequence) == expected


def test_unknown_names_and_parameters_are_found() -> None:
    filtering = Enrichment(
        name="f",
        owner="t",
        executor="min_dwell",
        reads=("event_time_ms",),
        event_types=("gone",),
        parameters={"min_dwell": 1},
    )
    assert codes(filtering) == {"bad_signature", "unknown_event_type"}
    assert codes(SpacingClass(name="s", owner="t", signal="is_ad", penalty=1, surfaces=("gone",))) == {
        "unknown_surface"
    }


def test_json_is_canonical_and_the_version_follows_from_the_content() -> None:
    first, second = assemble([CLICK, SCHEMA]), assemble([SCHEMA, CLICK])
    assert first.canonical_json() == second.canonical_json()
    assert first.version == second.version == parse(first.canonical_json()).version
    assert assemble([CLICK]).version != first.version


def test_corrupt_and_future_definitions_are_refused() -> None:
    for content in (b"", b"{", b'{"format":2}', b'{"format":1,"extra":{}}'):
        with pytest.raises(Corrupt):
            parse(content)


def test_diff_names_what_changed() -> None:
    newer = CLICK.model_copy(update={"retention_days": 5})
    changes = {change.where: change.what for change in diff(assemble([CLICK]), assemble([newer, SCHEMA]))}
    assert changes == {"events/click": "changed", "enrichments/schema": "added"}
    assert diff(assemble([CLICK]), assemble([CLICK])) == []


def test_a_retyped_column_needs_a_new_version() -> None:
    retyped = SCHEMA.model_copy(update={"writes": (Column(name="dwell_s", type="float64"),)})
    old = assemble([SCHEMA])
    assert [each.code for each in unversioned_changes(old, assemble([retyped]))] == ["type_changed_without_version"]
    assert unversioned_changes(old, assemble([retyped.model_copy(update={"version": 2})])) == []


def test_compiling_the_repository_gives_the_same_in_both_processes(tmp_path: Path) -> None:
    definitions = compile_definitions(ROOT)
    assert definitions == repository_definitions()
    store = BundleStore(str(tmp_path / "bundles"))
    release = write_bundle(definitions, store)
    assert release.version == definitions.version
    assert bundle.load(store.open(release)) == definitions
    assert write_bundle(definitions, store) == release


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 1 / 0", "ZeroDivisionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "may not use"),
        ("import os; os.system('true')", "may not use"),
        ("e = EventType(name='Bad Name', owner='t')", "Bad Name"),
    ],
)
def test_a_file_at_fault_is_named(tmp_path: Path, body: str, message: str) -> None:
    header = "from sequences.definitions.event_type import EventType\n"
    with pytest.raises(Invalid, match=r"events/a\.py") as error:
        compile_definitions(write(tmp_path, header + body))
    assert message in error.value.message


def test_definitions_that_depend_on_the_order_of_a_set_are_refused(tmp_path: Path) -> None:
    body = (
        "from sequences.definitions.event_type import EventType\n"
        "e = EventType(name='e', owner='t', description=' '.join({str(i) for i in range(50)}))\n"
    )
    with pytest.raises(Invalid, match="different results"):
        compile_definitions(write(tmp_path, body))


@pytest.mark.parametrize("body", ["while True: pass", "x = bytearray(4 << 30)"])
def test_definitions_over_their_limits_are_stopped(tmp_path: Path, body: str) -> None:
    with pytest.raises(Invalid):
        compile_definitions(write(tmp_path, body), CompileLimits(cpu_s=1, wall_s=10))


def test_a_missing_bundle_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        bundle.load(tmp_path)


def test_definitions_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Definitions().version = "x"  # type: ignore[misc]
