"""The page on a running house: a wall of pins, a save that changes the next one, why, and the trace."""

import http.client
import os
import re
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest

from e2e.house import House

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PINS = re.compile(r'data-pin="([^"]+)"')
TRACE_WITHIN_S = 10.0


def ask(house: House, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, str]:
    """(status, text, where it sends us)."""
    connection = http.client.HTTPConnection("127.0.0.1", house.endpoints.ports.page, timeout=20.0)
    try:
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers.get("Location", "")
    finally:
        connection.close()


def link(text: str, name: str) -> str:
    found = re.search(rf'id="{name}" href="([^"]+)"', text)
    assert found, text[:2_000]
    return found.group(1)


def test_a_save_on_the_page_changes_the_next_wall(house: House) -> None:
    status, wall, _ = ask(house, "/?user=person-00031")
    assert status == 200
    pins = PINS.findall(wall)
    assert len(pins) == len(set(pins)) == 24
    assert "diversify_and_space" in wall

    request_id = link(wall, "explain").rsplit("/", 1)[1]
    form = {"user": "person-00031", "surface": "home", "action": "save", "pin": pins[-1], "request_id": request_id}
    status, _, after_url = ask(house, "/act", form)
    assert status == 303
    status, after, _ = ask(house, after_url)
    assert status == 200
    assert pins[-1] not in PINS.findall(after), "a saved pin is seen"
    assert f"save {pins[-1]}" in after
    assert "by score</span>" in after, "no pin moved in the pool"


def test_a_feed_is_explained_down_to_its_trace(house: House) -> None:
    _, wall, _ = ask(house, "/?user=person-00032")
    shown = PINS.findall(wall)
    status, why, _ = ask(house, link(wall, "explain") + f"?why_not={shown[0]}")
    assert status == 200
    assert why.count("<circle") >= 20, "no frontier"
    for pin in shown:
        assert pin in why
    give_up_s = time.monotonic() + TRACE_WITHIN_S
    while "FeedService/GetFeed" not in (text := ask(house, link(wall, "trace"))[1]):
        assert time.monotonic() < give_up_s, text
        time.sleep(0.2)
    assert "diversify_and_space" in text


def test_mistakes_are_told_and_nothing_is_run_that_was_typed(house: House) -> None:
    status, text, _ = ask(house, "/?user=" + urllib.parse.quote('<script>alert("x")</script>'))
    assert "<script" not in text
    assert status in (200, 400)
    status, text, _ = ask(house, "/?surface=attic")
    assert status == 400
    assert "attic" in text
    assert ask(house, "/explain/unknown")[0] == 400
    assert ask(house, "/explain/" + "0" * 32)[0] == 404
    assert ask(house, "/trace/" + "0" * 32)[0] == 404
    bad = {"user": "person-00033", "action": "burn", "pin": "pin-000001"}
    assert ask(house, "/act", bad)[0] == 404
    assert ask(house, "/act", bad | {"action": "save"}, Origin="http://elsewhere.example")[0] == 403


def draw(house: House, path: str, picture: Path, folder: Path) -> None:
    """A picture of a page as a browser without a screen draws it."""
    assert CHROMIUM is not None
    subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1280,1600",
            f"--screenshot={picture}",
            f"http://127.0.0.1:{house.endpoints.ports.page}{path}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert picture.stat().st_size > 20_000, "an empty page compresses to less"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_draws_the_wall(house: House, tmp_path: Path) -> None:
    picture = Path(os.environ.get("CORKBOARD_SCREENSHOT", tmp_path / "wall.png"))
    draw(house, "/?user=person-00034", picture, tmp_path)
