"""`corkboard diagnose ranker`: what it starts, how it ends, and its tables."""

from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.errors import NotFound
from corkboard.commands import diagnose
from corkboard.local.ports import Ports
from corkboard.session import Endpoints


def row(different: float = 0.0, **fields: Any) -> dict[str, Any]:
    shares = {"different_share": different, "defaulted_share": 0.0, "missing_share": 0.0}
    return {"num_values": 400, **shares, "num_unknown": 3, "num_changed": 1, "examples": [], **fields}


EXAMPLE = {"request_id": "r", "user_id": "ann", "row": "pin-1", "online": "7200000", "training": "7200"}
REPORT = {
    "num_rankings": 8,
    "features": {"candidate_age_s": row(0.01, examples=[EXAMPLE]), "candidate_price": row(missing_share=0.0004)},
    "events": {"late": 5, "ahead": 0, "rankings_without_sequence": 2},
    "not_compared": {"score_popular": {"why": "because", "num_values": 400, "unknown_share": 0.25}},
    "versions": [
        {"model:ranker": "v1", "content_vector": "given", "model:popular": "p1", "num_rankings": 6},
        {"model:ranker": "v2", "content_vector": "given", "model:popular": "p1", "num_rankings": 2},
    ],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Jobs that were started, in place of which REPORT is there."""
    jobs: list[list[str]] = []

    def job(arguments: list[str], *_: Any, **options: Any) -> dict[str, Any]:
        jobs.append([options.get("service", "indexer"), *arguments])
        return {"result": REPORT}

    monkeypatch.setattr(diagnose, "run_job", job)
    monkeypatch.setattr(Endpoints, "of_running", lambda *_: Endpoints(Ports()))
    return jobs


@pytest.mark.parametrize(("max_share", "code"), [("0.02", 0), ("0.005", 1), ("0.0001", 1)])
def test_a_share_above_the_limit_ends_with_1(asked: list[list[str]], max_share: str, code: int) -> None:
    done = CliRunner().invoke(diagnose.app, ["ranker", "--max-share", max_share, "--last", "40", "--settle-s", "5"])
    assert done.exit_code == code, done.output
    (reading, comparing) = asked
    assert reading[:2] == ["indexer", "served_features"] and reading[-2:] == ["--last", "40"]
    assert comparing[:2] == ["ranker", "feature_check"] and comparing[-2:] == ["--settle-s", "5.0"]
    assert comparing[3] == reading[3], "the folder that was written is the one that is read"
    assert ("candidate_age_s is off" in done.output) == (code == 1)
    assert ("candidate_price is off" in done.output) == (max_share == "0.0001")


def test_tables_show_shares_examples_and_who_ranked(asked: list[list[str]]) -> None:
    said = " ".join(CliRunner().invoke(diagnose.app, ["ranker"]).output.split())
    for text in ("1.00%", "ann pin-1: online 7200000, training 7200", "25.00%", "because", "could not be read: 2"):
        assert text in said
    assert "75.0% v1 given 25.0% v2 given" in said and "100.0% model:popular p1" in said


def test_nothing_logged_is_said_as_it_is(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> dict[str, Any]:
        raise NotFound("no ranking of that time was logged")

    monkeypatch.setattr(diagnose, "run_job", nothing)
    assert isinstance(CliRunner().invoke(diagnose.app, ["ranker"]).exception, NotFound)
