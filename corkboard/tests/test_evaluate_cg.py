"""`corkboard evaluate cg`: tables, a picture, and errors that say what to do."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.errors import Invalid, NotFound, Unavailable
from corkboard.commands import evaluate
from corkboard.commands.output import Output

ROW = {f"recall@{k}": {"mean": k / 2_000, "low": k / 3_000, "high": k / 1_500} for k in (10, 100, 1_000)}
REPORT = {
    "data": "world",
    "num_users": 9,
    "num_pins": 50,
    "seeds": [17],
    "models": {"popularity": {**ROW, "ndcg@10": 0.1}, "a<b": {**ROW, "ndcg@10": 0.2}},
    "related": {"num_requests": 8, "models": {"content": {**ROW, "ndcg@10": 0.3}}},
    "contextual_minus": {"ease_recency": ROW},
}
SKEW = {
    "data": "world",
    "version_skew": {
        "num_users": 9,
        "seeds": [17],
        "index_version": {"continued": {"v": ROW, "v-1": ROW}},
        "state_behind_events": {"0": ROW},
    },
}


@pytest.fixture
def movielens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few ratings, in an empty home."""
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    rows = [f"{user}\t{(user * 7 + n * (1 + user % 3)) % 40}\t4\t{1_000 + n}" for user in range(20) for n in range(8)]
    (tmp_path / "ml-100k.inter").write_text("\n".join(["user\titem\trating\ttime", *rows]) + "\n")
    return tmp_path


@pytest.mark.parametrize("report", [REPORT, SKEW])
def test_reports_are_drawn_as_tables_and_as_one_valid_picture(
    report: dict[str, object], movielens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "evaluation_job", lambda *_: report)
    picture = movielens / "recall.svg"
    arguments = ["cg", "--movielens", str(movielens), "--picture", str(picture)]
    done = CliRunner().invoke(evaluate.app, arguments, catch_exceptions=False)
    assert "0.050 [0.033, 0.067]" in done.stdout
    drawn = ET.parse(picture).getroot()  # noqa: S314  # our own file
    num_dots = len(drawn.findall(".//{http://www.w3.org/2000/svg}circle"))
    assert num_dots == (9 if report is REPORT else 4), "one per model and figure"


def test_the_job_runs_and_its_report_is_returned(movielens: Path) -> None:
    report = evaluate.evaluation_job(
        Output(is_json=True),
        evaluate.JOB,
        ["--movielens", str(movielens / "ml-100k.inter"), "--models", "two_tower", "--num-seeds", "1"],
    )
    assert report["models"].keys() >= {"popularity", "ease_recency", "two_tower"}
    assert json.dumps(report)


def test_what_is_missing_is_said(movielens: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(evaluate.app, ["cg", *arguments]).exception

    found = error()
    assert isinstance(found, NotFound) and "corkboard train all" in found.message and "--movielens" in found.message
    found = error("--movielens", str(tmp_path / "nowhere"))
    assert isinstance(found, NotFound) and "ml-100k.inter" in found.message
    assert isinstance(error("--movielens", str(movielens), "--picture", "x.bmp"), Invalid)
    (movielens / "ml-100k.inter").write_text("user\n1\t2\n")
    found = error("--movielens", str(movielens))
    assert isinstance(found, Unavailable) and "failed with code" in found.message
