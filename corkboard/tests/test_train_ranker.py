"""`corkboard train ranker` from a folder and from MovieLens' file, and what it says when it cannot."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.bundles import BundleStore
from chassis.errors import NotFound, Unavailable
from corkboard.commands import train_ranker
from corkboard.world.dataset import write_dataset
from corkboard.world.truth import WorldSize

QUICK = ["--epochs", "1", "--foresight-epochs", "1"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


@pytest.mark.timeout(180)
def test_the_ranker_is_trained_from_a_folder_for_all_surfaces_and_for_each(tmp_path: Path, home: Path) -> None:
    write_dataset(WorldSize(num_pins=300, num_people=40, num_sessions_per_person=4), tmp_path / "world")
    arguments = ["ranker", "--data", str(tmp_path / "world"), "--per-surface", *QUICK]
    done = CliRunner().invoke(train_ranker.app, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(done.stdout)
    store = BundleStore(str(home / "bundles"))
    names = ("ranker", "ranker-home", "ranker-related", "ranker-search")
    assert report["versions"] == {name: store.list(name)[-1].version for name in names}
    assert {"ranker", "ranker_after_30_days", "retrieval_order"} == report["evaluation"]["leave_last_out"].keys()
    assert not (home / "unfinished-trainings").exists() or not list((home / "unfinished-trainings").iterdir())
    drawn = CliRunner().invoke(train_ranker.app, arguments, catch_exceptions=False).stdout
    assert "NDCG@10" in drawn and "calibration error" in drawn


def test_ratings_in_the_form_of_movielens_are_data_too(tmp_path: Path, home: Path) -> None:
    rows = [
        f"{user}\t{(user * 7 + step * (1 + user % 3)) % 40}\t4\t{step * 60}" for user in range(30) for step in range(12)
    ]
    (tmp_path / "ml-100k.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float\ttimestamp:float", *rows])
    )
    arguments = ["ranker", "--data", str(tmp_path), "--name", "ranker-next", "--json", *QUICK]
    report = json.loads(CliRunner().invoke(train_ranker.app, arguments, catch_exceptions=False).stdout)
    assert report["versions"] == {"ranker-next": BundleStore(str(home / "bundles")).list("ranker-next")[0].version}


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [(("--data", "nowhere"), NotFound, "neither lake nor a folder"), ((), Unavailable, "corkboard up")],
)
def test_errors_say_what_to_do(arguments: tuple[str, ...], kind: type, words: str) -> None:
    error = CliRunner().invoke(train_ranker.app, ["ranker", *arguments]).exception
    assert isinstance(error, kind) and words in str(error)
