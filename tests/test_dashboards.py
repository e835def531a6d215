"""Dashboards and alerts ask only for metrics and labels that the code registers, in expressions that parse."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.registered_metrics import PROCESS, Registered, in_source, registered

ROOT = Path(__file__).parents[1]
DASHBOARDS = sorted((ROOT / "charts" / "corkboard" / "dashboards").glob("*.json"))
ALERTS = sorted((ROOT / "charts" / "corkboard" / "alerts").glob("*.yaml"))
RULE_TESTS = sorted((ROOT / "charts" / "corkboard" / "alerts" / "tests").glob("*.yaml"))
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
SCRAPE_LABELS = {"job", "instance", "le"}
PROMISES = {
    *("freshness", "completeness", "coverage", "lateness", "serving", "rollout"),
    *("feed_availability", "feed_latency", "feed_quality", "zones", "traces", "quota", "lake"),
}
LABELS_BY_SERIES = {series: metric.labels for metric in registered() for series in metric.series} | dict.fromkeys(
    PROCESS, frozenset[str]()
)


def rules(path: Path, kind: str) -> list[dict[str, Any]]:
    """Rules of one file: `alert` or `record`."""
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


RECORDED = {rule["record"] for path in ALERTS for rule in rules(path, "record")}
LABELS_BY_SERIES |= dict.fromkeys(RECORDED, frozenset[str]())


def problems(expression: str) -> Iterator[str]:
    """Unknown series, unknown labels in selectors and in aggregations."""
    tree = promql_parser.parse(expression)
    selectors, groups = nodes(tree)
    known: set[str] = set(SCRAPE_LABELS)
    for selector in selectors:
        if selector.name not in LABELS_BY_SERIES:
            yield f"nobody registers {selector.name}"
            continue
        labels = LABELS_BY_SERIES[selector.name]
        assert labels is not None, f"{selector.name}: its labels are not literals in the source"
        known |= labels
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels | SCRAPE_LABELS:
                yield f"{selector.name} has no label {matcher.name}"
    yield from (f"no selector has label {label}" for label in groups if label not in known)


def nodes(tree: Any) -> tuple[list[Any], set[str]]:
    """Vector selectors, and the labels of `by` clauses."""
    selectors: list[Any] = []
    groups: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            groups.update(node.modifier.labels)
        return True

    promql_parser.walk(tree, visit)
    return selectors, groups


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> list[tuple[str, str]]:
    """(where, expression) of a dashboard or a rule file; Grafana's variables are filled in."""
    if path.suffix == ".yaml":
        return [(rule[kind], rule["expr"]) for kind in ("alert", "record") for rule in rules(path, kind)]
    dashboard = json.loads(path.read_text())
    found = [(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]
    found += [("annotation", each["expr"]) for each in dashboard["annotations"]["list"]]
    return [(where, expression.replace("$sequence", ".*")) for where, expression in found]


def test_there_is_one_dashboard_per_reader_and_rules_for_every_promise() -> None:
    assert [path.stem for path in DASHBOARDS] == ["feeds", "pipeline", "sequences", "serving"]
    assert {rule["labels"]["slo"] for path in ALERTS for rule in rules(path, "alert")} == PROMISES | {"acceptance"}


@pytest.mark.parametrize("path", [*DASHBOARDS, *ALERTS], ids=lambda path: path.name)
def test_every_expression_is_answered_by_what_the_code_registers(path: Path) -> None:
    wrong = {where: list(problems(expression)) for where, expression in expressions(path)}
    assert wrong
    assert {where: found for where, found in wrong.items() if found} == {}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_can_be_imported(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == f"corkboard-{path.stem}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)
    spots = [tuple(panel["gridPos"][side] for side in "xywh") for panel in dashboard["panels"]]
    assert all(x + width <= 24 for x, _, width, _ in spots)
    assert not [(a, b) for at, a in enumerate(spots) for b in spots[at + 1 :] if overlap(a, b)]
    for variable in dashboard["templating"]["list"]:
        for series in re.findall(r"label_values\((\w+),", str(variable["query"])):
            assert series in LABELS_BY_SERIES


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.name)
def test_an_alert_says_how_bad_it_is_and_where_to_look(path: Path) -> None:
    for rule in rules(path, "alert"):
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action", "runbook"}
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in nodes(promql_parser.parse(rule["expr"]))[1], f"{rule['alert']}: {label} is summed away"


def test_names_are_given_once() -> None:
    names = [name for path in ALERTS for name, _ in expressions(path)]
    assert len(set(names)) == len(names)


def test_every_alert_has_a_place_in_a_runbook_and_every_place_an_alert() -> None:
    places = {rule["annotations"]["runbook"] for path in ALERTS for rule in rules(path, "alert")}
    headings = {
        f"docs/runbooks/{path.name}#{heading.lower()}"
        for path in RUNBOOKS
        for heading in re.findall(r"^## (\w+)$", path.read_text(), re.MULTILINE)
    }
    assert places == headings


def promtool() -> str | None:
    """The one that scripts/promtool built, else one on PATH."""
    beside = Path(sys.executable).with_name("promtool")
    return str(beside) if beside.exists() else shutil.which("promtool")


@pytest.mark.skipif(promtool() is None, reason="promtool (of Prometheus) is not there: scripts/promtool builds it")
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    command = [str(promtool()), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire() -> None:
    text = "\n".join(path.read_text() for path in RULE_TESTS)
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", text)) | set(re.findall(r'alertname="(\w+)"', text))
    assert {rule["alert"] for path in ALERTS for rule in rules(path, "alert")} == fired


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum(rate(kafka_records_sent_total[5m]))", []),
        ("sum(rate(kafka_records_sent[5m]))", ["nobody registers kafka_records_sent"]),
        ("kafka_send_seconds", ["nobody registers kafka_send_seconds"]),  # a histogram has no series of its own name
        ('sequence_late_ratio{user="u"}', ["sequence_late_ratio has no label user"]),
        ("sum by (user) (sequence_late_ratio)", ["no selector has label user"]),
    ],
)
def test_a_planted_fault_is_found(expression: str, found: list[str]) -> None:
    assert list(problems(expression)) == found


def test_registrations_are_read_from_the_source() -> None:
    text = 'labels = ("a", "b")\nmetrics.counter("x", "help", labels)\nmetrics.histogram("y_seconds", "help")\n'
    assert list(in_source(text)) == [
        Registered("x", "counter", frozenset({"a", "b"})),
        Registered("y_seconds", "histogram", frozenset()),
    ]
