"""What the README tells people to type does what it says, in a running Corkboard."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from e2e.house import House
from tests.test_docs import ROOT, blocks, commands

README = (ROOT / "README.md").read_text()
PERSON, PIN = "person-00042", "pin-000007"
SHOWN_WITHIN_S = 5.0  # an event is readable two seconds after it was published, a trace about one
QUICK = ("feed", "publish", "sequence", "trace", "status")
SHOWN = {
    "feed": lambda out: "pin-" in out and "stages" in out and "request" in out,
    "publish": lambda out: PIN in out or "ACCEPTED" in out,
    "sequence": lambda out: PIN in out and "engagement" in out,
    "trace": lambda out: "GetFeed" in out and "stage rank" in out and "blender" in out,
    "status": lambda out: all(name in out for name in ("kafka-1", "valkey", "ingest", "ranker-leaf", "ready")),
}


def to_try() -> list[list[str]]:
    """The quick `corkboard` commands of the README, in its order."""
    words = [command[1:] for command in commands(README) if command[0] == "corkboard"]
    return [command for command in words if command[0] in QUICK]


def test_the_readme_has_all_the_quick_commands() -> None:
    assert {command[0] for command in to_try()} == set(QUICK) == set(SHOWN)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that tables fold no name."""
    monkeypatch.setenv("COLUMNS", "200")


def test_the_commands_to_try_show_what_they_promise(house: House) -> None:
    for command in to_try():
        shown: Callable[[str], bool] = SHOWN[command[0]]
        give_up_s = time.monotonic() + SHOWN_WITHIN_S
        while not shown(out := house.command(*command)):
            assert time.monotonic() < give_up_s, f"corkboard {' '.join(command)}\n{out}"


def test_the_python_example_prints_a_feed(house: House) -> None:
    (example,) = blocks(README, "python")
    moved = example.replace("127.0.0.1:7107", house.endpoints.address("blender"))
    assert moved != example
    house.command("feed", PERSON)  # the first feed of a person fills caches; the example allows 250 ms
    done = subprocess.run(
        [sys.executable, "-c", moved], capture_output=True, text=True, timeout=30.0, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    *items, last = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in items] == list(range(10)), done.stdout
    assert all(re.fullmatch(r"\d+ pin-\d{6} \w+", line) for line in items), done.stdout
    assert re.match(r"missing: \[\] next page: \S", last), last


def test_a_feed_can_be_explained_by_the_request_id_in_its_json(house: House) -> None:
    feed = json.loads(house.command("feed", PERSON, "--json"))
    why = json.loads(house.command("explain", feed["request_id"], "--why-not", PIN, "--json"))
    assert [item["pin_id"] for item in why["items"]] == [item["pin_id"] for item in feed["items"]]
    assert [item["pin_id"] for item in why["why_not"]] == [PIN]
    assert {"retrieve", "rank"} <= {stage["stage"] for stage in why["stages"]}


@pytest.mark.parametrize("command", [("status",), ("sequence", PERSON), ("trace", "--last"), ("quota", "list")])
def test_every_quick_command_speaks_json(house: House, command: tuple[str, ...]) -> None:
    assert json.loads(house.command(*command, "--json")) is not None


def test_an_unknown_pin_user_or_request_is_one_line_and_an_exit_code(house: House) -> None:
    for command, code in (
        (("explain", "00000000000000000000000000000000"), 3),
        (("sequence", PERSON, "dreams"), 3),
        (("feed", PERSON, "--surface", "moon"), 2),
        (("feed", PERSON, "--surface", "related", "--subject", "pin-999999"), None),
        (("publish", PERSON, "moonwalk", PIN), 2),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "corkboard", *command],
            capture_output=True,
            text=True,
            timeout=60.0,
            env=os.environ | {"CORKBOARD_HOME": str(house.home.root), "NO_COLOR": "1"},
            check=False,
        )
        assert code is None or done.returncode == code, f"{command}: {done.returncode} {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or done.stderr.startswith("error "), done.stderr
