"""The whole life of a process: exit codes and log lines, seen from outside."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Process:
    """A `small_service` and the log lines that it has written."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.lines: list[dict[str, Any]] = []

    @classmethod
    async def start(cls, **variables: str) -> "Process":
        environ = {key: value for key, value in os.environ.items() if not key.startswith("SMALL_")}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chassis.tests.small_service",
            cwd=ROOT,
            env=environ | variables,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(child)

    async def wait_for(self, event: str) -> None:
        """Read until `event` was logged."""
        while not self.lines or self.lines[-1]["event"] != event:
            self.lines.append(json.loads(await self._line()))

    async def ended(self) -> int:
        """Read the rest; the exit code."""
        while line := await self._line():
            self.lines.append(json.loads(line))
        return await self.child.wait()

    async def _line(self) -> bytes:
        assert self.child.stderr is not None
        async with asyncio.timeout(30):
            return await self.child.stderr.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_stop_it_ends_with_0(number: signal.Signals) -> None:
    process = await Process.start(SMALL_ZONE="az-a")
    await process.wait_for("serving")
    process.child.send_signal(number)
    assert await process.ended() == 0
    assert [line["event"] for line in process.lines] == ["starting", "serving", "stopping", "stopped"]
    assert process.lines[0]["settings"]["zone"] == "az-a"


async def test_asked_to_stop_while_starting_it_ends_with_0() -> None:
    process = await Process.start(SMALL_MODE="stuck")
    await process.wait_for("waiting")
    process.child.send_signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert process.lines[-2]["event"] == "asked to stop while starting"


async def test_a_crash_ends_it_with_1_and_one_line_that_names_the_part() -> None:
    process = await Process.start(SMALL_MODE="crash")
    assert await process.ended() == 1
    (line,) = [line for line in process.lines if line["level"] == "error"]
    assert (line["part"], line["error"]) == ("boiler", "RuntimeError('boiler burst')")
    assert "parts.py" in line["exception"]


@pytest.mark.parametrize(
    ("variables", "words", "code"),
    [
        ({"SMALL_GRPC_PROT": "1"}, "did you mean SMALL_GRPC_PORT", 2),
        ({"SMALL_DRAIN_S": "-1"}, "SMALL_DRAIN_S (Seconds that running calls get", 2),
        ({"SMALL_MODE": "refuse"}, "two settings do not fit", 2),
        ({"SMALL_MODE": "bug"}, "bug in wiring", 1),
    ],
)
async def test_what_cannot_start_says_why_in_one_line(variables: dict[str, str], words: str, code: int) -> None:
    process = await Process.start(**variables)
    assert await process.ended() == code
    (line,) = [line for line in process.lines if line["level"] == "error"]
    assert words in line["error"]
