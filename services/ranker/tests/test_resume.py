"""A killed training goes on where it was, in either phase, and ends with the very same weights."""

import json
from pathlib import Path

import pytest
import torch

from chassis.errors import Corrupt
from modeling.tests.dataset_files import write_dataset
from services.ranker.offline import train
from services.ranker.offline.fit_ranker import FittedRanker, RankerPlan, fit_ranker
from services.ranker.offline.watch import Watch
from services.ranker.tests.world import served, training_data

PLAN = RankerPlan(max_requests=400, num_foresight_epochs=4, num_epochs=2, batch_size=64, seed=3)


class Killed(Exception):
    """What a kill looks like from inside."""


def _fit(watch: Watch) -> FittedRanker:
    return fit_ranker(training_data(served=served()), PLAN, watch=watch)


@pytest.fixture(scope="module")
def whole() -> FittedRanker:
    return _fit(Watch())


@pytest.mark.parametrize("at_share", [0.4, 0.75], ids=["in foresight", "in ranking"])
def test_a_killed_training_ends_as_if_nothing_had_happened(
    at_share: float, whole: FittedRanker, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []

    def kill(done: int, total: int) -> None:
        told.append((done, total))
        if done >= at_share * total:
            raise Killed

    with pytest.raises(Killed):
        _fit(Watch(kill, tmp_path / "ranker-3"))
    watch = Watch(lambda done, total: told.append((done, total)), tmp_path / "ranker-3")
    assert watch.is_begun
    resumed = _fit(watch)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert told[-1][0] == told[-1][1] and len({total for _, total in told}) == 1, "one bar over both phases"
    assert not list(tmp_path.iterdir()), "a finished training leaves nothing"


def test_the_command_resumes_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data", training_data(num_users=20))
    options = ["--dataset", str(data), "--bundles-uri", str(tmp_path / "bundles"), "--json", "--steps"]
    options += ["--max-requests", "80", "--num-foresight-epochs", "1", "--num-epochs", "1"]
    assert train.main([*options, "--checkpoints", str(tmp_path / "kept"), "--resume"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["is_resumed"] is False, "there was nothing to go on with"
    steps = [json.loads(line) for line in said.err.splitlines()]
    assert [step["done"] for step in steps] == list(range(1, steps[-1]["total"] + 1))
    assert train.main([*options, "--resume"]) == 1
    assert "--checkpoints" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_checkpoint_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ranker-3-foresight.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(Corrupt, match="checkpoint ranker-3-foresight"):
        _fit(Watch(None, tmp_path / "ranker-3"))
