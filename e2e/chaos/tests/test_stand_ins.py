"""Stand-ins take the settings of the process they stand in for, and answers are spoilt by a file."""

import json
import os
from pathlib import Path

import pytest

from e2e.chaos import stand_ins
from e2e.chaos.stand_ins import Stage, StandIn
from e2e.house import House

SETTINGS = {
    "RANKER_GRPC_PORT": "1",
    "RANKER_ADMIN_PORT": "2",
    "RANKER_INSTANCE": "ranker",
    "RANKER_GROUP_INSTANCE_ID": "ranker",
    "RANKER_STATE_DIR": "",
    "PATH": "/bin",
}


class Still(StandIn):
    """Is never started."""

    def __init__(self, house: House, name: str, pid: int, change: stand_ins.Change) -> None:
        self.settings = change({**SETTINGS, "RANKER_STATE_DIR": str(house.home.root)})
        self.name, self.pid = name, pid

    def start(self) -> None:
        pass

    def wait_ready(self) -> None:
        pass


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(stand_ins, "StandIn", Still)
    monkeypatch.setattr(House, "stop", lambda *_: None)
    return Stage(House(tmp_path, 1), lambda *_: os.getpid())


def test_a_second_process_has_ports_and_a_name_of_its_own(stage: Stage) -> None:
    stage.twin("ranker")
    found = stage.twins["ranker"].settings
    assert found["RANKER_GRPC_PORT"] not in ("1", found["RANKER_ADMIN_PORT"])
    assert (found["RANKER_INSTANCE"], found["RANKER_GROUP_INSTANCE_ID"], found["PATH"]) == ("ranker-2", "", "/bin")
    assert stage.addresses() == {"ranker": (f"127.0.0.1:{found['RANKER_GRPC_PORT']}",)}


def test_answers_are_spoilt_by_a_file_and_no_longer_without_it(stage: Stage, tmp_path: Path) -> None:
    stage.may_be_wrong("ranker")
    assert stage._replaced["ranker"].settings["RANKER_FAULTS_ENABLED"] == "1"
    stage.spoil("nan", 0.5)
    assert json.loads((tmp_path / "faults.json").read_text()) == {"kind": "nan", "share": 0.5}
    stage.spoil("", 0.0)
    assert not (tmp_path / "faults.json").exists()
