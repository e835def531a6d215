"""Every chaos scenario with a control of the same seed; the soak has `corkboard chaos run soak` for itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.chaos.report import write_report
from e2e.chaos.runner import run_scenario
from e2e.chaos.scenarios import SCENARIOS, scenario
from e2e.chaos.verdict import VIOLATED
from e2e.house import House, claimed_port_base

SEED = int(os.environ.get("CORKBOARD_CHAOS_SEED", "1"))
TOO_LONG = {"soak"}


def names(kind: str) -> list[str]:
    return [name for name, one in SCENARIOS.items() if one.house == kind and name not in TOO_LONG]


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@contextmanager
def a_house(folder: Path, *options: str) -> Iterator[House]:
    """One of another kind, for these scenarios alone."""
    with claimed_port_base() as port_base:
        house = House(folder, port_base)
        house.up(*options)
        try:
            house.command("world", "--pins", "600", "--people", "60", "--json")
            house.command("train", "all", "--json", timeout_s=240.0)
            yield house
        finally:
            house.down()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with a_house(Path(tmp_path_factory.mktemp("secured")), "--tls") as house:
        yield house


@pytest.fixture(scope="module")
def zoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with a_house(Path(tmp_path_factory.mktemp("zoned")), "--zones", "a,b") as house:
        yield house


@pytest.mark.parametrize("name", names("plain"))
def test_what_must_hold_holds(house: House, tmp_path: Path, name: str) -> None:
    judge(house, tmp_path, name)


@pytest.mark.parametrize("name", names("tls"))
def test_what_must_hold_holds_with_mtls(secured: House, tmp_path: Path, name: str) -> None:
    judge(secured, tmp_path, name)


@pytest.mark.parametrize("name", names("zones"))
def test_what_must_hold_holds_in_a_zone_beside_a_lost_one(zoned: House, tmp_path: Path, name: str) -> None:
    judge(zoned, tmp_path, name)


def judge(house: House, folder: Path, name: str) -> None:
    outcome = run_scenario(house, scenario(name), SEED)
    outcome.run.write(folder / "run.jsonl")
    outcome.control.write(folder / "control.jsonl")
    write_report(outcome, folder / "report.html")
    violated = {one.check: one.violations[:5] for one in outcome.findings if one.verdict == VIOLATED}
    assert not violated, f"seed {SEED}, report {folder / 'report.html'}: {violated}"
