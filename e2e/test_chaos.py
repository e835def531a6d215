"""Chaos scenarios of 30 s each, with a control of the same seed: what must hold does hold."""

import os
from pathlib import Path

import pytest

from e2e.chaos.report import write_report
from e2e.chaos.runner import run_scenario
from e2e.chaos.scenarios import scenario
from e2e.chaos.verdict import VIOLATED
from e2e.house import House

SEED = int(os.environ.get("CORKBOARD_CHAOS_SEED", "1"))
NAMES = (
    "kill_at_random",
    "crash_points",
    "long_pause",
    "broker_pause",
    "valkey_flush",
    "valkey_death",
    "poison",
    pytest.param(
        "rolling_restart",
        marks=pytest.mark.xfail(
            reason="a blender that has just become ready may miss its first deadlines", strict=False
        ),
    ),
    "slow_leaf",
    "half_open_leaf",
    "lossy_cg",
    "overload",
    "repeated_and_shuffled",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", NAMES)
def test_what_must_hold_holds(house: House, tmp_path: Path, name: str) -> None:
    outcome = run_scenario(house, scenario(name), SEED)
    outcome.run.write(tmp_path / "run.jsonl")
    outcome.control.write(tmp_path / "control.jsonl")
    write_report(outcome, tmp_path / "report.html")
    violated = {one.check: one.violations[:5] for one in outcome.findings if one.verdict == VIOLATED}
    assert not violated, f"seed {SEED}, report {tmp_path / 'report.html'}: {violated}"
