"""The command line as people meet it: help with examples, one-line errors, exit codes, no stack traces."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer.main

from chassis.testing.ports import free_port
from corkboard.__main__ import EXIT_CODES, build, main
from corkboard.local.home import Home
from corkboard.local.ports import SERVICE_OFFSETS
from corkboard.local.process import created_at_s
from corkboard.local.run_file import RunFile, RunningProcess


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`corkboard …` in this process, in an empty home; anything but an orderly exit fails the test."""
    monkeypatch.setenv("CORKBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def running(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["corkboard", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Said(code if isinstance(code, int) else int(code is not None), *capsys.readouterr())

    return running


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, command) of every command that does something."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


TREE = dict(commands(typer.main.get_command(build())))


def test_the_tree_holds_what_the_changelog_promises() -> None:
    promised = (
        "up down status logs stop start demo world feed publish explain sequence preview trace import train evaluate "
        "definitions quota doctor parity backfill rebuild lake sql replay models load chaos calibrate diagnose "
        "zone prepare"
    )
    assert {path[0] for path in TREE} == set(promised.split())


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_says_what_it_does_with_an_example(path: tuple[str, ...], run: Run) -> None:
    said = run(*path, "--help")
    assert said.code == 0 and said.err == ""
    assert f"Example: corkboard {' '.join(path)}" in " ".join(said.out.split()), said.out


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_option_and_argument_says_what_it_means(path: tuple[str, ...]) -> None:
    silent = [option.name for option in TREE[path].params if not getattr(option, "help", None)]
    assert silent == []


NOT_RUNNING = [
    ("status",),
    ("stop", "cg"),
    ("start", "cg"),
    ("feed", "person-00001"),
    ("publish", "person-00001", "save", "pin-000001"),
    ("explain", "request"),
    ("sequence", "person-00001"),
    ("preview", "{}"),
    ("world",),
    ("train", "all"),
    ("definitions", "diff"),
    ("quota", "list"),
    ("quota", "usage"),
    ("quota", "create", "surface/blender", "--limit", "1"),
    ("quota", "get", "surface/blender"),
    ("quota", "watch"),
    ("quota", "rightsize", "--backtest"),
    ("quota", "capacity"),
]


@pytest.mark.parametrize("arguments", NOT_RUNNING, ids=" ".join)
def test_when_nothing_runs_it_says_how_to_start(arguments: tuple[str, ...], run: Run) -> None:
    said = run(*arguments)
    assert said == Said(4, "", "error Corkboard is not running here; start it with: corkboard up\n")


MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    (("logs", "nobody"), 3, "no log of 'nobody'"),
    (("logs", "[/x]"), 3, "no log of '[/x]'"),
    (("trace",), 2, "--last"),
    (("trace", "abc"), 3, "'abc'"),
    (("trace", "--last"), 3, "corkboard feed USER"),
    (("publish", "u", "save", "--attributes", "[1]"), 2, "not a JSON object: '[1]'"),
    (("preview", "nonsense"), 2, "not a JSON object: 'nonsense'"),
    (("preview", '{"shoe_size": 1}'), 2, "shoe_size"),
    (("preview", '{"user_id": 3}'), 2, "user_id"),
    (("feed", "u", "--page-size", "99999999999"), 2, "--page-size"),
    (("up", "--zones", ","), 2, "zone"),
    (("up", "--brokers", "4"), 2, "--brokers"),
    (("import", "movielens", "nowhere"), 3, "nowhere"),
    (("evaluate", "feed", "nowhere"), 3, "nowhere"),
    (("definitions", "activate", "v0"), 3, "'v0'"),
    (("definitions", "compile", "--folder", "nowhere"), 2, "nowhere"),
    (("world", "--pins", "1"), 2, "--pins"),
    (("quota", "create", "a", "--limit", "much"), 2, "'much' is no amount such as 100, 500m or 16Gi"),
    (("quota", "usage", "--last", "ages"), 2, "'ages' is no span of time"),
    (("quota", "haircut", "nowhere.json"), 3, "nowhere.json"),
    (("feed",), 2, "user"),
    (("feed", "u", "--nonsense"), 2, "--nonsense"),
    (("nonsense",), 2, "nonsense"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_named_without_a_stack_trace(arguments: tuple[str, ...], code: int, words: str, run: Run) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (code, "")
    assert words in said.err and "Traceback" not in said.err
    assert len(said.err.splitlines()) == 1 or said.err.startswith("Usage:") or "Error" in said.err


def test_down_when_nothing_runs_is_no_error(run: Run) -> None:
    assert run("down") == Said(0, "nothing was running\n", "")
    assert json.loads(run("down", "--json").out) == {"stopped": []}


def test_doctor_answers_in_json_and_its_exit_code_says_whether_all_is_well(run: Run) -> None:
    said = run("doctor", "--json")
    findings = json.loads(said.out)
    assert [item["check"] for item in findings] == ["Python", "wheels", "ports", "memory", "disk", "state folder"]
    assert said.code == int(any(item["advice"] for item in findings))


def test_doctor_names_a_home_that_cannot_be_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORKBOARD_HOME", "/proc/nowhere/home")
    findings = {item["check"]: item for item in json.loads(run("doctor", "--json").out)}
    assert "CORKBOARD_HOME" in findings["state folder"]["advice"]


class Refusing(grpc.GenericRpcHandler):
    """Answers every call of every service with one status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(self._code, self._details)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.mark.parametrize("status", sorted(EXIT_CODES))
def test_a_service_that_refuses_gives_its_words_and_an_exit_code(status: str, run: Run, tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(1), [Refusing(grpc.StatusCode[status], "request 'r-1' is not known")])
    base = free_port() - SERVICE_OFFSETS["blender"]
    server.add_insecure_port(f"127.0.0.1:{base + SERVICE_OFFSETS['blender']}")
    server.start()
    home = Home(tmp_path / "home")
    home.create()
    this = RunningProcess("supervisor", os.getpid(), created_at_s(os.getpid()))
    RunFile(this, base, ("local",), 1, ()).write(home.state_file)
    try:
        said = run("explain", "r-1")
    finally:
        server.stop(None).wait()
    assert (said.code, said.out) == (EXIT_CODES[status], "")
    assert "error request 'r-1' is not known" in said.err and "Traceback" not in said.err


def test_a_zone_that_is_not_there_is_named_with_those_that_are(run: Run, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    this = RunningProcess("supervisor", os.getpid(), created_at_s(os.getpid()))
    RunFile(this, 7100, ("az-a", "az-b"), 1, ()).write(home.state_file)
    said = run("feed", "person-00001", "--zone", "az-z")
    assert said == Said(4, "", "error there is no zone 'az-z'; there are: az-a, az-b\n")
