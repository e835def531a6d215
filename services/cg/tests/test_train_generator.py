"""The job behind `corkboard train cg`: bundles, progress, errors, and a kill in the middle."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chassis.bundles import BundleStore
from modeling.tests.dataset_files import write_dataset as write_plain_dataset
from services.cg.offline.fit_shopping import fit_shopping_files
from services.cg.offline.train import main as train_everything
from services.cg.offline.train_generator import main
from services.cg.tests.shopping_world import write_dataset
from services.cg.tests.world import training_data


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_dataset(tmp_path_factory.mktemp("job") / "dataset-shop")


def _arguments(dataset: Path, folder: Path, *more: str, generator: str = "shopping") -> list[str]:
    places = ["--dataset", str(dataset), "--bundles-uri", str(folder / "bundles"), "--json", "--device", "cpu"]
    return ["--generator", generator, *places, *more]


def _report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("generator", ["shopping", "contextual"])
def test_a_bundle_with_its_evaluation_is_written(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], generator: str
) -> None:
    arguments = _arguments(dataset, tmp_path, "--num-epochs", "2", "--steps", generator=generator)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    (release,) = BundleStore(str(tmp_path / "bundles")).list(generator)
    assert report["versions"] == {generator: release.version} and not report["is_released"]
    evaluation = json.loads((BundleStore(str(tmp_path / "bundles")).open(release) / "evaluation.json").read_bytes())
    assert evaluation == report["evaluation"]
    (protocol,) = (name for name in evaluation if name.startswith("first_"))
    assert 0 < evaluation[protocol][generator]["recall@100"] <= 1
    steps = [json.loads(line) for line in captured.err.splitlines()]
    assert [each["done"] for each in steps] == list(range(1, len(steps) + 1)) and steps[0]["total"] >= len(steps)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    store = BundleStore(str(folder / "bundles"))
    found: dict[str, torch.Tensor] = torch.load(store.open(store.list("shopping")[-1]) / "model.pt", weights_only=True)
    return found


def test_a_killed_job_goes_on_and_ends_with_the_same_weights(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ("--num-epochs", "30", "--patience", "0")
    assert main(_arguments(dataset, tmp_path / "whole", *plan)) == 0
    more = (*plan, "--checkpoints", str(tmp_path / "unfinished"), "--steps")
    argv = [
        sys.executable,
        "-m",
        "services.cg.offline.train_generator",
        *_arguments(dataset, tmp_path / "killed", *more),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:  # noqa: S603
        assert job.stderr is not None
        for line in job.stderr:
            if line.startswith('{"done"') and json.loads(line)["done"] >= 40:
                job.send_signal(signal.SIGKILL)
                break
        job.stderr.read()
    assert list((tmp_path / "unfinished").glob("*.pt")) and not (tmp_path / "killed").exists()
    capsys.readouterr()
    assert main([*_arguments(dataset, tmp_path / "killed", *more), "--resume"]) == 0
    captured = capsys.readouterr()
    first = json.loads(captured.err.splitlines()[0])
    assert json.loads(captured.out)["is_resumed"] and first["done"] > 30
    whole, resumed = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not list((tmp_path / "unfinished").glob("*.pt"))


def test_an_unfinished_training_is_forgotten_without_resume(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shopping-17.pt").write_bytes(b"nothing that could be gone on with")
    arguments = _arguments(dataset, tmp_path, "--num-epochs", "1", "--checkpoints", str(tmp_path))
    assert main([*arguments, "--resume"]) == 1
    assert "cannot be read" in _report(capsys)["error"]["message"]
    assert main(arguments) == 0
    assert not _report(capsys)["is_resumed"]


def test_errors_say_what_to_do(tmp_path: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = write_plain_dataset(tmp_path / "dataset-plain", training_data(num_users=5))
    cases = [
        (_arguments(plain, tmp_path), "NOT_FOUND", "export it anew"),
        (_arguments(tmp_path / "nowhere", tmp_path), "NOT_FOUND", "nowhere"),
        (_arguments(dataset, tmp_path, "--resume"), "INVALID_ARGUMENT", "--checkpoints"),
        (_arguments(dataset, tmp_path, "--runtime", "ray", "--device", "cuda"), "INVALID_ARGUMENT", "--device"),
    ]
    if not torch.cuda.is_available():
        cases.append(([*_arguments(dataset, tmp_path), "--device", "cuda"], "INVALID_ARGUMENT", "CUDA"))
    for arguments, status, words in cases:
        assert main(arguments) == 1
        error = _report(capsys)["error"]
        assert error["status"] == status and words in error["message"]


def test_the_whole_job_adds_shopping_where_there_are_ads(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_plain_dataset(tmp_path / "dataset-plain", training_data(num_users=5))
    assert fit_shopping_files(plain, 3, None, lambda *_: None) is None
    bundles = ["--bundles-uri", str(tmp_path / "bundles"), "--json"]
    assert train_everything(["--dataset", str(dataset), *bundles]) == 0
    assert "shopping" in _report(capsys)["versions"]


def test_every_user_gets_a_vector_of_the_bundles_version(dataset: Path) -> None:
    fitted = fit_shopping_files(dataset, 3, None, lambda *_: None, is_evaluated=False)
    assert fitted is not None
    assert fitted.user_UV.shape == (len(fitted.user_ids), 64)
    assert torch.allclose(torch.from_numpy(fitted.user_UV).norm(dim=1), torch.ones(len(fitted.user_ids)), atol=1e-4)
