"""`corkboard evaluate reliability`: the two jobs behind it, and its table."""

from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.errors import Invalid
from corkboard.commands import evaluate_reliability

HEAD = {"num_examples": 2_000, "expected": 80.04, "observed": 20, "observed_over_expected": 0.25, "error": 0.03}
SHOWN = {"num_shown": 2_000, "since_ms": 1, "until_ms": 2}
REPORT = {
    "num_shown": 2_000,
    "models": {"v1": 1_990},
    "heads": {"save": HEAD, "home/share": HEAD | {"observed_over_expected": None}},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    jobs: list[list[str]] = []

    def job(arguments: list[str], *_: Any, service: str = "indexer") -> dict[str, Any]:
        jobs.append([service, *arguments])
        return {"result": SHOWN if service == "indexer" else REPORT}

    monkeypatch.setattr(evaluate_reliability, "run_job", job)
    return jobs


def test_the_table_has_expected_observed_and_their_ratio(asked: list[list[str]]) -> None:
    done = CliRunner().invoke(evaluate_reliability.app, ["reliability", "--hours", "2", "--window-s", "60"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "save 2,000 80.0 20 0.25 0.0300" in said and "home/share 2,000 80.0 20 - 0.0300" in said
    assert "2,000 shown pins, actions within 60 s" in said and "ranker v1 (1,990)" in said
    reading, measuring = asked
    assert reading[:2] == ["indexer", "served_outcomes"] and reading[-4:] == ["--hours", "2.0", "--window-s", "60.0"]
    assert measuring[:2] == ["ranker", "reliability"] and measuring[3] == reading[3], (
        "the file that was written is read"
    )
    assert "--picture" not in measuring


def test_a_picture_is_a_png(asked: list[list[str]]) -> None:
    wrong = CliRunner().invoke(evaluate_reliability.app, ["reliability", "--picture", "a.svg"])
    assert isinstance(wrong.exception, Invalid) and asked == []
    CliRunner().invoke(evaluate_reliability.app, ["reliability", "--picture", "a.png", "--model", "v1"])
    assert asked[1][-4:-1] == ["--model", "v1", "--picture"]
