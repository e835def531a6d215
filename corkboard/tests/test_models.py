"""`corkboard models` without a running Corkboard: what there is, and errors that say what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.bundles import BundleStore
from chassis.errors import Corrupt, NotFound, Unavailable
from corkboard.commands.models import app

EVALUATION = json.dumps({"leave_last_out": {"contextual": {"recall@10": 0.1471234, "num_users": 9.0}}}).encode()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundleStore:
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return BundleStore(str(tmp_path / "bundles"))


def _fails(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments)).exception


def test_every_version_is_listed_with_its_figures(store: BundleStore) -> None:
    store.write("contextual", "v1", {"evaluation.json": EVALUATION})
    store.write("contextual", "v2", {"evaluation.json": EVALUATION, "more": b"1"})
    store.write("definitions", "d1", {"definitions.json": b"{}"})
    rows = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert [(row["name"], row["version"], row["is_live"]) for row in rows] == [
        ("contextual", "v1", None),
        ("contextual", "v2", None),
    ]
    assert rows[0]["evaluation"] == {"recall@10": 0.1471}
    drawn = CliRunner().invoke(app, ["list", "contextual"]).stdout
    assert "v2" in drawn and "recall@10 0.1471" in drawn and "not running" in drawn


def test_a_bundle_with_another_byte_is_named(store: BundleStore, tmp_path: Path) -> None:
    store.write("contextual", "v1", {"evaluation.json": EVALUATION})
    (tmp_path / "bundles/contextual/v1/evaluation.json").write_bytes(b"{}")
    assert isinstance(_fails("list"), Corrupt)


def test_what_is_missing_is_said(store: BundleStore) -> None:
    error = _fails("list")
    assert isinstance(error, NotFound) and "corkboard train all" in error.message
    assert isinstance(_fails("release", "contextual", "v1"), NotFound)
    store.write("contextual", "v1", {"evaluation.json": EVALUATION})
    error = _fails("release", "contextual", "v9")
    assert isinstance(error, NotFound) and "there are: v1" in error.message
    error = _fails("release", "contextual", "v1")
    assert isinstance(error, Unavailable) and "corkboard up" in error.message
    assert isinstance(_fails("rollback", "contextual"), Unavailable)
