"""A browser draws the report: every picture has its lines and its labelled faults, nothing runs over the edge."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.chaos.history import INFO, Record
from e2e.chaos.report import WIDTH, write_report
from e2e.chaos.tests.test_checks import lose, sound
from e2e.chaos.verdict import judge

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    run = sound()
    lose(run)
    for name, at_s in (("indexer", 60.0), ("ranker-leaf", 118.5)):  # the last one at the edge
        run.add(Record(at_s, name, "fault", "kill", "begin", INFO))
        run.add(Record(at_s + 1, name, "fault", "kill", "end", INFO))
    write_report(
        judge("poison", 3, ("no_acknowledged_event_lost", "none_twice"), run, sound()), tmp_path / "report.html"
    )
    return tmp_path / "report.html"


def test_labels_stay_within_the_picture(report: Path) -> None:
    labels = re.findall(r'<text x="([\d.]+)" y="\d+" font-size="11">([^<]+)</text>', report.read_text())
    assert {"kill indexer", "kill ranker-leaf"} <= {text for _, text in labels}
    assert all(float(x) + 6 * len(text) <= WIDTH for x, text in labels)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_it(report: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", report.as_uri()]
    subprocess.run(command, capture_output=True, timeout=50, check=True)
    assert picture.stat().st_size > 20_000, "an empty page"
