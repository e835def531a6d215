"""How commands speak: JSON that parses, tables without surprises, no colour where none is wanted."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from corkboard.commands.output import Output, pairs, table


def drawn(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_json_is_one_document_on_stdout_and_remarks_are_not_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(is_json=True)
    output.say("working")
    with output.progress("pins", 1_000) as advance:
        advance(1_000)
    output.result({"path": Path("x"), "name": "müsli [bold]", "rows": [1, None]}, lambda: pytest.fail("drawn"))
    out, err = capsys.readouterr()
    assert json.loads(out) == {"path": "x", "name": "müsli [bold]", "rows": [1, None]}
    assert "working" in err and "pins: 1,000" in err


def test_people_get_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({"hidden": 1}, lambda: table("feed", ("pin", "score"), [("pin-1", 0.5)], ("score",)))
    out, err = capsys.readouterr()
    assert out.splitlines()[0].strip() == "feed" and "pin-1" in out and "hidden" not in out and err == ""


@pytest.mark.parametrize("variable", [None, "NO_COLOR"])
def test_no_color_switches_colours_off_on_a_terminal(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    output = Output()
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert output.console.no_color == terminal.no_color == bool(variable)
    terminal.print("[red]problem[/red]")
    assert isinstance(terminal.file, io.StringIO)
    assert ("\x1b[31m" in terminal.file.getvalue()) == (variable is None)


def test_a_pipe_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({}, lambda: pairs("[bold]world[/bold]", {"pins": 3}))
    assert "\x1b" not in capsys.readouterr().out


def test_a_title_of_somebody_else_is_shown_as_it_is() -> None:
    titles = ["[/b] closes nothing", "[red]alarm[/red]", "plain"]
    text = drawn(table("feed", ("title",), [(title,) for title in titles]))
    assert [line.strip() for line in text.splitlines()[2:]] == titles


def test_a_remark_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Output().say("no log of '[/x]'")
    assert "no log of '[/x]'" in capsys.readouterr().err
