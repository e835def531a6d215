"""`corkboard train cg`: a bundle from a folder of data, and errors that say what to do."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.bundles import BundleStore
from chassis.errors import Invalid, NotFound, Unavailable
from corkboard.commands import train_cg
from corkboard.commands.output import Output
from corkboard.commands.training_jobs import run_job
from corkboard.world.dataset import write_dataset
from corkboard.world.truth import WorldSize
from sequences.dataset import Dataset
from sequences.training_reader import ReadOptions

SIZE = WorldSize(num_pins=300, num_people=40, num_sessions_per_person=6, num_ads_per_session=6, ad_share=0.3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(SIZE, folder)
    return folder


def test_the_written_world_is_a_dataset_whose_labels_follow_its_events(world: Path) -> None:
    data = Dataset.open(world)
    rows = list(data.training_rows(ReadOptions(10_000)))
    num_requests = SIZE.num_people * SIZE.num_sessions_per_person
    assert sum(each.num_requests for each in rows) == num_requests
    assert data.served().num_rows == num_requests * SIZE.num_pins_per_session
    bought = sum(sum(each.candidate_features.column("converted").to_pylist()) for each in rows)
    events = [kind for kinds in data.histories().column("event_types").to_pylist() for kind in kinds]
    assert bought == events.count("conversion") > 0
    before = {user: 0 for user in data.histories().column("user_id").to_pylist()}
    for batch in rows:
        asked = batch.request_features.select(["user_id", "served_time_ms", "num_events"]).to_pylist()
        for request in sorted(asked, key=lambda each: each["served_time_ms"]):
            assert request["num_events"] >= before[request["user_id"]], "a sequence never shrinks"
            before[request["user_id"]] = request["num_events"]


def test_a_generator_is_trained_from_a_folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["cg", "--generator", "shopping", "--data", str(world), "--epochs", "1", "--device", "cpu"]
    done = CliRunner().invoke(train_cg.app, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(done.stdout)
    (release,) = BundleStore(str(tmp_path / "bundles")).list("shopping")
    assert report["versions"] == {"shopping": release.version}
    drawn = CliRunner().invoke(train_cg.app, arguments, catch_exceptions=False).stdout
    assert "shopping" in drawn and "recall@100" in drawn


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("--generator", "psychic"), Invalid, "contextual, shopping"),
        (("--generator", "shopping", "--device", "tpu"), Invalid, "auto, cpu, cuda"),
        (("--generator", "shopping", "--runtime", "slurm"), Invalid, "local, ray"),
        (("--generator", "shopping", "--data", "nowhere"), NotFound, "neither lake nor a folder"),
        (("--generator", "shopping"), Unavailable, "corkboard up"),
    ],
)
def test_errors_say_what_to_do(
    arguments: tuple[str, ...], kind: type, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path))
    error = CliRunner().invoke(train_cg.app, ["cg", *arguments]).exception
    assert isinstance(error, kind) and words in str(error)


def test_what_the_job_says_comes_back_as_its_own_error(tmp_path: Path) -> None:
    arguments = ["--generator", "shopping", "--dataset", str(tmp_path / "gone")]
    with pytest.raises(NotFound, match="gone"):
        run_job(train_cg.JOB, arguments, "training", Output(is_json=True))
    with pytest.raises(Unavailable, match="invalid choice"):
        run_job(train_cg.JOB, ["--generator", "psychic", "--dataset", "x"], "training", Output(is_json=True))
