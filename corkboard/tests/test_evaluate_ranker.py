"""`corkboard evaluate ranker`: the job behind it, its tables, and figures that are not what is expected."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.errors import Invalid
from corkboard.commands import evaluate_ranker
from corkboard.commands.evaluate import evaluation_job
from corkboard.commands.output import Output

REPORT = {
    "data": "DATA",
    "num_users": 20,
    "seeds": [1, 2],
    "ndcg@10": {name: {"mean": value, "low": 0.0, "high": 0.2} for name, value in (("ours", 0.1), ("theirs", 0.05))},
    "ours_minus": {"theirs": {"mean": 0.05, "low": 0.01, "high": 0.09}},
    "heads": {"ours": {"click": {"auc": 0.8, "ndcg@10": 0.5, "log_loss": 0.1, "calibration_error": 0.002}}},
}


@pytest.fixture
def movielens(tmp_path: Path) -> Path:
    rows = [f"{user}\t{(user * 7 + n * (1 + user % 3)) % 40}\t4\t{1_000 + n}" for user in range(20) for n in range(8)]
    (tmp_path / "ml-100k.inter").write_text("\n".join(["user\titem\trating\ttime", *rows]) + "\n")
    return tmp_path


def _run(movielens: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(evaluate_ranker, "evaluation_job", lambda *_: REPORT)
    return CliRunner().invoke(evaluate_ranker.app, ["ranker", "--movielens", str(movielens), *arguments])


def test_the_job_runs_and_tells_its_steps(movielens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--num-seeds", "1", "--max-requests", "40", "--num-epochs", "1"]
    data = ["--movielens", str(movielens / "ml-100k.inter")]
    report = evaluation_job(Output(is_json=True), evaluate_ranker.JOB, [*data, *options])
    assert {"ranker", "deep_fm", "ease_recency", "retrieval_order"} <= report["ndcg@10"].keys()
    assert '"done"' not in capsys.readouterr().out


def test_tables_a_picture_and_paired_differences(movielens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = movielens / "order.svg"
    done = _run(movielens, monkeypatch, "--picture", str(picture))
    assert done.exit_code == 0, done.output
    assert "+0.0500 [+0.0100, +0.0900]" in done.stdout
    assert len(ET.parse(picture).getroot().findall(".//{http://www.w3.org/2000/svg}circle")) == 2  # noqa: S314 - ours


@pytest.mark.parametrize(
    ("expected", "code", "said"),
    [
        ({"ours": {"expected": 0.101, "tolerance": 0.002}}, 0, ""),
        ({"ours": {"expected": 0.11, "tolerance": 0.002}}, 1, "of ours is 0.1000, expected 0.11"),
        ({"gone": {"expected": 0.1, "tolerance": 1.0}}, 1, "of gone was not measured"),
    ],
)
def test_figures_are_checked_against_what_is_expected(
    expected: dict[str, Any], code: int, said: str, movielens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = movielens / "expected.json"
    path.write_text(json.dumps({"DATA": expected, "other data": {"ours": {"expected": 9, "tolerance": 0}}}))
    done = _run(movielens, monkeypatch, "--expected", str(path))
    assert done.exit_code == code, done.output
    assert said in " ".join(done.stdout.split())


@pytest.mark.parametrize("content", ["", "[]", '{"DATA": {"ours": {"expected": 1}}}'])
def test_a_file_of_another_form_is_refused(content: str, movielens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = movielens / "expected.json"
    path.write_text(content)
    error = _run(movielens, monkeypatch, "--expected", str(path)).exception
    assert isinstance(error, Invalid) and "tolerance" in error.message
    assert isinstance(_run(movielens, monkeypatch, "--picture", "x.bmp").exception, Invalid)
