"""Logs: JSON lines from everybody, with trace, service and zone."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from chassis import logs, tracing
from chassis.deadline import Deadline

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What was logged since `configure`; everything is as before afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    stream = io.StringIO()
    logs.configure("info", "test", "az-a", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level, config = before
    root.setLevel(level)
    structlog.configure(**config)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


def test_a_line_is_json_with_service_and_zone(lines: Lines) -> None:
    logs.get_logger("store").info("opened", path="/x", num_rows=3)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "opened",
        "level": "info",
        "logger_name": "store",
        "num_rows": 3,
        "path": "/x",
        "service": "test",
        "zone": "az-a",
    }


def test_a_logger_made_before_configure_obeys_it(lines: Lines) -> None:
    early = logs.get_logger("early")
    early.debug("not shown")
    early.warning("shown")
    assert [line["event"] for line in lines()] == ["shown"]


async def test_lines_carry_the_trace_they_belong_to(lines: Lines) -> None:
    part = tracing.Tracing("test", "one", "", 1.0)
    async with asyncio.TaskGroup() as tasks:
        await part.start(tasks)
    with tracing.span("work"):
        trace_id = tracing.current_trace_id()
        logs.get_logger("store").info("inside")
        logging.getLogger("somebody").info("theirs %s", "inside")
    logs.get_logger("store").info("outside")
    await part.stop(Deadline.after(1.0))
    ours, theirs, outside = lines()
    assert ours["trace_id"] == theirs["trace_id"] == trace_id
    assert len(ours["span_id"]) == 16
    assert theirs["event"] == "theirs inside"
    assert "trace_id" not in outside


@pytest.mark.parametrize("name", ["faust.app", "mode.supervisors", "aiokafka.consumer", "grpc._cython", "asyncio"])
def test_libraries_speak_from_warning_on_and_in_the_same_format(lines: Lines, name: str) -> None:
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("trouble in %s", "paradise")
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == ("trouble in paradise", "warning", name)
    assert (line["service"], line["zone"]) == ("test", "az-a")


async def test_lines_of_other_threads_tell_the_service_too(lines: Lines) -> None:
    await asyncio.get_running_loop().run_in_executor(None, logs.get_logger("thread").info, "from a thread")
    assert lines()[0]["service"] == "test"


def test_an_exception_stays_on_one_line(lines: Lines) -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError as error:
        logs.get_logger("store").error("failed", exc_info=error)
    (line,) = lines()
    assert "RuntimeError: two\nlines" in line["exception"]


def test_what_json_does_not_know_is_still_logged(lines: Lines) -> None:
    logs.get_logger("store").info("odd", what={1, 2}, raw=b"\xff", who="Zoë\x00")
    (line,) = lines()
    assert line["who"] == "Zoë\x00"


def told(secret: str, **facts: Any) -> Any:
    """What a line of a process with this secret says."""
    out = io.StringIO()
    logs.configure("info", "test", "az-a", out, secret=secret)
    logs.get_logger("store").info("read", **facts)
    logging.getLogger("somebody").warning("theirs")
    return json.loads(out.getvalue().splitlines()[0])


def test_users_are_told_by_pseudonyms_of_the_secret(lines: Lines) -> None:
    one, again, other = (told(secret, user_id="person-00042")["user_id"] for secret in ("a", "a", "b"))
    assert one == again != other
    assert one.startswith("user-") and "00042" not in one
    assert told("a", user_id="person-00043")["user_id"] != one
    assert told("", user_id="person-00042")["user_id"] != told("", user_id="person-00042")["user_id"]
    assert told("a", user_ids=["person-00042"], other="person-00042")["user_ids"] == [one]


def test_logs_of_a_job_that_configures_nothing_keep_out_of_what_it_prints() -> None:
    job = "from chassis.logs import get_logger; get_logger('job').warning('mended a key', key='s:1'); print('{}')"
    done = subprocess.run([sys.executable, "-c", job], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "{}\n"
    assert "mended a key" in done.stderr and "s:1" in done.stderr
