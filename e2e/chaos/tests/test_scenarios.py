"""Schedules come from their seed, verdicts from the difference, reports and foreign processes are handled with care."""

import os
from pathlib import Path

import pytest

from chassis.errors import NotFound, Unavailable
from corkboard.local.process import created_at_s
from corkboard.local.run_file import RunFile, RunningProcess
from e2e.chaos import drivers
from e2e.chaos.checks import CHECKS
from e2e.chaos.history import History, Record
from e2e.chaos.report import write_report
from e2e.chaos.scenarios import SCENARIOS, scenario
from e2e.chaos.tests.test_checks import fail_a_feed, lose, sound
from e2e.chaos.verdict import HOLDS, INCONCLUSIVE, VIOLATED, judge
from e2e.house import House


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_schedule_is_its_seed_and_its_checks_exist(name: str) -> None:
    one = scenario(name)
    assert one.schedule(5) == one.schedule(5)
    assert one.calls(5, is_control=False) == one.calls(5, is_control=False)
    assert set(one.checks) <= set(CHECKS)
    assert [fault.at_s for fault in one.schedule(5)] == sorted(fault.at_s for fault in one.schedule(5))


def test_other_seeds_draw_other_faults() -> None:
    assert len({scenario("kill_at_random").schedule(seed) for seed in range(5)}) == 5


def test_an_unknown_scenario_is_told_what_there_is() -> None:
    with pytest.raises(NotFound, match="kill_at_random"):
        scenario("earthquake")


def test_the_verdict_is_the_difference() -> None:
    broken = sound()
    lose(broken)
    fail_a_feed(broken)
    checks = ("no_acknowledged_event_lost", "none_twice")
    assert [one.verdict for one in judge("x", 0, checks, broken, sound()).findings] == [VIOLATED, HOLDS]
    assert [one.verdict for one in judge("x", 0, checks, broken, broken).findings] == [INCONCLUSIVE, HOLDS]
    assert not judge("x", 0, checks, broken, broken).holds


def test_a_report_is_one_file_and_shows_what_was_found(tmp_path: Path) -> None:
    broken = sound()
    lose(broken)
    broken.add(Record(1.0, "<script>", "fault", "kill", "begin"))
    write_report(judge("poison", 3, ("no_acknowledged_event_lost",), broken, sound()), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "an invariant does not hold" in text and "event-0117" in text and text.count("<svg") == 5
    assert "<script>" not in text and "http" not in text


def test_a_report_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    write_report(judge("poison", 3, (), History(), History()), tmp_path / "report.html")
    assert "every invariant holds" in (tmp_path / "report.html").read_text()


def test_a_process_of_others_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, 1)
    house.home.create()
    parent = RunningProcess("supervisor", os.getpid(), created_at_s(os.getpid()))
    RunFile(parent, 1, ("local",), 1, ()).write(house.home.state_file)
    monkeypatch.setattr(House, "pid_or_none", lambda *_: os.getppid())
    with pytest.raises(Unavailable, match="was not started by this Corkboard"):
        drivers.own_pid(house, "enrich")
    monkeypatch.setattr(House, "pid_or_none", lambda *_: None)
    with pytest.raises(Unavailable, match="does not run"):
        drivers.own_pid(house, "enrich")
