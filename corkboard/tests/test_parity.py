"""Parity on the command line: shadows are planned, runs kept, refusals say why, rollbacks find their promotion."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from chassis.bundles import BundleStore
from chassis.config import load
from chassis.errors import Conflict, Invalid, NotFound
from corkboard.commands.parity import _seconds, _types
from corkboard.commands.parity_html import as_html
from corkboard.commands.parity_records import (
    Change,
    changes,
    keep_change,
    keep_run,
    run_of,
    runs,
    standing_promotion,
)
from corkboard.commands.parity_report import as_tables, refusal
from corkboard.commands.parity_shadow import _alone
from corkboard.local.home import Home
from corkboard.local.plan import Addresses, Planner
from corkboard.local.ports import Ports
from corkboard.local.shadow import Shadow
from protos import topics
from sequences.parity.run import ParityRun

SHADOW = Shadow("parity-1", "d-new")


def a_run(run_id: str = "20260101T000000-save", event_type: str = "save") -> ParityRun:
    gate = {"name": "match_rate", "tier": 1, "what": "events", "limit": ">=", "threshold": 0.995}
    return ParityRun.model_validate(
        {
            "run_id": run_id,
            "settings": {
                "event_types": (event_type,),
                "against": "shadow",
                "old_version": "d-old",
                "new_version": "d-<new>",
                "wanted_version": "d-new",
                "from_ms": 0,
                "until_ms": 1,
                "settle_s": 1.0,
                "last": 1,
                "max_users": 1,
            },
            "findings": {
                "num_accepted": 1,
                "num_repeated_old": 0,
                "num_repeated_new": 0,
                "num_users": 1,
                "hours": [
                    {"hour_ms": 0, "num_left": 10, "num_right": 9, "num_common": 9},
                    {"hour_ms": 3_600_000, "num_left": 0, "num_right": 0, "num_common": 0},
                ],
                "fields": [{"column": "pin_id", "kind": "equal", "num_compared": 9, "num_equal": 9, "num_values": 9}],
                "causes": [{"missing_on": "new", "cause": "filtered", "detail": "min_dwell", "num_events": 1}],
                "gates": [
                    gate | {"value": 0.9, "verdict": "failed"},
                    gate | {"name": "unknown_ratio", "value": 0.0, "verdict": "passed"},
                    gate | {"name": "score_delta_mean", "value": None, "verdict": "not measured", "why": "no ranker"},
                ],
                "histograms": [{"name": "set overlap", "low": 0.0, "high": 1.0, "counts": [0, 3]}],
            },
        }
    )


def change(time_ms: int, event_type: str = "save", is_rollback: bool = False, **values: Any) -> Change:
    given = {"event_types": (event_type,), "run_id": "r", "version": f"d-{time_ms}", "replaced": "d-0"}
    return Change.model_validate(given | {"is_rollback": is_rollback, "time_ms": time_ms, "changed_by": "me"} | values)


def test_a_shadow_has_settings_of_its_own_that_its_services_know() -> None:
    redis = {"local": "redis://127.0.0.1:9000/0"}
    planner = Planner(
        Home(Path("/home-of-tests")), Ports(), ("local",), Addresses("k:1", redis, "http://o:1"), "0" * 64
    )
    real = {spec.name: spec for spec in planner.plan().services}
    shadows = {spec.name: spec for spec in planner.shadow(SHADOW)}
    assert set(shadows) == {"enrich-shadow", "indexer-shadow"}
    for name, spec in shadows.items():
        service = spec.module.removeprefix("services.")
        config = load(importlib.import_module(f"{spec.module}.config").Config, f"{service.upper()}_", spec.environment)
        assert (config.shadow, config.definitions_version) == (SHADOW.name, "d-new")
        assert config.instance == name
        assert not {spec.grpc_port, spec.admin_port} & {each.grpc_port for each in real.values()}
    indexer = shadows["indexer-shadow"].environment
    assert indexer["INDEXER_REDIS_URL"] == "redis://127.0.0.1:9000/1"
    assert indexer["INDEXER_LAKE_DIR"] != real["indexer-lake"].environment["INDEXER_LAKE_DIR"]
    assert Path(indexer["INDEXER_LAKE_DIR"]).parent.name == "shadow"


def test_a_shadow_writes_no_topic_that_somebody_reads() -> None:
    assert not {topic.name for topic in SHADOW.topics} & {topic.name for topic in topics.ALL}
    assert topics.EVENTS_ENRICHED.shadow("") is topics.EVENTS_ENRICHED


def test_runs_are_kept_with_their_report_and_found_again(tmp_path: Path) -> None:
    store = BundleStore(str(tmp_path))
    first, second = a_run(), a_run("20260102T000000-click", "click")
    for each in (first, second):
        keep_run(store, each)
    assert runs(store) == [first, second]
    assert run_of(store) == second
    assert run_of(store, event_types=("save",)) == first
    assert run_of(store, first.run_id) == first
    with pytest.raises(NotFound, match="no parity run of hide"):
        run_of(store, event_types=("hide",))


def test_a_refusal_names_every_closed_gate_with_value_and_limit() -> None:
    assert refusal(a_run().closed_gates) == (
        "match_rate is 0.9, the limit is >= 0.995; score_delta_mean was not measured: no ranker"
    )


def test_a_rollback_finds_the_newest_promotion_that_stands(tmp_path: Path) -> None:
    store = BundleStore(str(tmp_path))
    history = [change(1), change(2), change(3, "click"), change(4, is_rollback=True)]
    for each in history:
        keep_change(store, each)
    assert changes(store) == history
    assert standing_promotion(history, ("save",)).version == "d-1"
    assert standing_promotion(history, ("click",)).version == "d-3"
    with pytest.raises(NotFound, match="nothing to roll back"):
        standing_promotion([*history, change(5, is_rollback=True)], ("save",))


def test_the_html_report_is_whole_and_loads_nothing() -> None:
    page = as_html(a_run())
    assert page.count("<svg") == page.count("</svg>") == 4  # hours, columns, causes, one histogram
    assert "d-&lt;new&gt;" in page and "d-<new>" not in page
    assert "no events" in page and "min_dwell" in page and "not measured" in page
    assert not re.search(r"(src|href)=|<script|url\(", page)
    assert as_tables(a_run()) is not None


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("1.5m", 90), ("2h", 7200)])
def test_durations(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no duration"):
        _seconds(text)


def test_types_are_sorted_and_unique() -> None:
    assert _types("save, click,save") == ("click", "save")
    with pytest.raises(Invalid):
        _types(" , ")


def test_two_runs_cannot_have_a_shadow_at_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    with _alone(home), pytest.raises(Conflict, match="another parity run"), _alone(home):
        pass
    with _alone(home):
        pass
