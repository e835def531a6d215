"""Definition files run with limits: every breach is a problem that names the file, and the machine stays whole."""

from pathlib import Path

import pytest

from chassis.errors import Invalid
from sequences.definitions.compile import compile_definitions
from sequences.definitions.compile_run import CompileLimits

HEADER = "from sequences.definitions.event_type import EventType\n"
GOOD = HEADER + "good = EventType(name='good', owner='t')\n"
LIMITS = CompileLimits(cpu_s=3, wall_s=30)


def planted(root: Path, body: str) -> Path:
    """A folder of one good file and one with `body`."""
    (root / "events").mkdir(parents=True)
    (root / "events" / "a_good.py").write_text(GOOD)
    (root / "events" / "b_planted.py").write_text(HEADER + body)
    return root


def refusal(root: Path, body: str, limits: CompileLimits = LIMITS) -> Invalid:
    """What compiling says; it always names the planted file and never the good one."""
    with pytest.raises(Invalid) as caught:
        compile_definitions(planted(root, body), limits)
    assert "events/b_planted.py" in caught.value.message
    assert "a_good" not in caught.value.message
    assert caught.value.field == "events/b_planted.py"
    return caught.value


def test_the_folder_compiles_without_a_plant(tmp_path: Path) -> None:
    definitions = compile_definitions(planted(tmp_path, "fine = EventType(name='fine', owner='t')\n"), LIMITS)
    assert set(definitions.events) == {"good", "fine"}


def test_an_endless_loop_ends_at_the_cpu_limit(tmp_path: Path) -> None:
    error = refusal(tmp_path, "while True: pass")
    assert (error.reason, "3 s of CPU" in error.message) == ("over_limit", True)


def test_an_endless_wait_ends_at_the_time_limit(tmp_path: Path) -> None:
    error = refusal(tmp_path, "import time; time.sleep(60)", CompileLimits(wall_s=4.0))
    assert (error.reason, "4 s" in error.message) == ("over_limit", True)


@pytest.mark.parametrize("body", ["x = bytearray(4 << 30)", "x = [0]\nwhile True: x = x + x"])
def test_a_huge_allocation_is_refused(tmp_path: Path, body: str) -> None:
    assert "memory" in refusal(tmp_path, body, CompileLimits(cpu_s=20)).message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "may not use socket"),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')", "may not use"),
        ("import subprocess; subprocess.run(['/bin/true'])", "may not use"),
        ("import os; os.fork()", "may not use os.fork"),
        ("import ctypes; ctypes.CDLL(None)", "may not use ctypes"),
        ("import services.ingest.app.publish_events", "may not import services"),
        ("from corkboard import session", "may not import corkboard"),
        ("open('/tmp/planted-by-a-definition', 'w')", "may not write files"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import os; os._exit(0)", "ended the process"),
        ("import os; os.abort()", "stopped the process with status -6"),
    ],
)
def test_what_definitions_may_not_touch_is_refused(tmp_path: Path, body: str, said: str) -> None:
    assert said in refusal(tmp_path, body).message


@pytest.mark.parametrize(
    "value",
    [
        "__import__('time').time_ns()",
        "__import__('random').random()",
        "__import__('uuid').uuid4()",
        "__import__('datetime').date.today()",
        "__import__('os').getpid()",
        "' '.join({str(number) for number in range(50)})",
    ],
)
def test_what_is_not_deterministic_names_the_file_and_the_field(tmp_path: Path, value: str) -> None:
    error = refusal(tmp_path, f"e = EventType(name='e', owner='t', description=str({value}))\n")
    assert error.reason == "not_deterministic"
    assert "events/e (description)" in error.message


def test_a_definition_that_comes_and_goes_is_named(tmp_path: Path) -> None:
    body = "name = sorted({'x', 'y', 'z', 'p', 'q'}, key=hash)[0]\ne = EventType(name=name, owner='t')\n"
    assert refusal(tmp_path, body).reason == "not_deterministic"


def test_what_a_definition_prints_is_not_part_of_the_result(tmp_path: Path) -> None:
    body = "print('hello'); fine = EventType(name='fine', owner='t')\n"
    assert set(compile_definitions(planted(tmp_path, body), LIMITS).events) == {"good", "fine"}
