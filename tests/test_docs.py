"""What the documentation tells people to type exists, and what it links to is there. `e2e/test_readme.py` runs it."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from corkboard.__main__ import build

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ANCHOR = re.compile(r"[^\w\- ]")
TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
HIDDEN = re.compile(r"^\.|^node_modules$|^build$|^dist$")


def documents() -> list[Path]:
    """Every Markdown file of the repository."""
    found = ROOT.rglob("*.md")
    return sorted(path for path in found if not any(HIDDEN.match(part) for part in path.relative_to(ROOT).parts))


def blocks(text: str, language: str = "") -> list[str]:
    """Fenced blocks of that language."""
    return [body for found, body in FENCE.findall(text) if found == language]


def commands(text: str) -> list[list[str]]:
    """Words of each `make …` and `corkboard …` line of the command blocks, without comments."""
    lines = [
        line.replace(".venv/bin/", "")
        for language in ("", "sh", "bash", "console", "shell")
        for block in blocks(text, language)
        for line in block.splitlines()
    ]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(make|corkboard)\b", line)]


def documented() -> Iterator[Any]:
    """A test case for each documented command."""
    for path in documents():
        for words in commands(path.read_text()):
            yield pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")


def problem_of_corkboard(words: list[str]) -> str:
    """Why the command line would refuse these words; empty when it would take them. Nothing is run."""
    command, arguments = typer.main.get_command(build()), words
    path = "corkboard"
    while True:
        try:
            with command.make_context(path, list(arguments)) as context:
                rest = [*getattr(context, "_protected_args", []), *context.args]
        except Exception as error:  # any refusal is an answer here
            return f"{path}: {getattr(error, 'message', '') or type(error).__name__}"
        if not hasattr(command, "commands"):
            return ""
        if rest[0] not in command.commands:
            return f"{path}: there is no command {rest[0]!r}"
        path, command, arguments = f"{path} {rest[0]}", command.commands[rest[0]], rest[1:]


def problem_of_make(words: list[str]) -> str:
    """Which target is not in the Makefile."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    unknown = [word for word in words if "=" not in word and word not in targets]
    return f"no such targets: {unknown}" if unknown else ""


@pytest.mark.parametrize("words", list(documented()))
def test_a_documented_command_exists(words: list[str]) -> None:
    problem = problem_of_make(words[1:]) if words[0] == "make" else problem_of_corkboard(words[1:])
    assert problem == ""


def test_make_targets_named_in_text_exist() -> None:
    named = [
        (path.name, words)
        for path in documents()
        for words in re.findall(r"`make ([^`]+)`", path.read_text())
        if problem_of_make(words.split())
    ]
    assert named == []


@pytest.mark.parametrize(
    "words", ["nonsense", "train nonsense", "feed u --nonsense", "feed", "world --pins 1", "status extra"]
)
def test_a_command_that_does_not_exist_would_be_noticed(words: str) -> None:
    assert problem_of_corkboard(words.split())
    assert problem_of_make(["nonsense"]) and not problem_of_make(["demo", "ARGS=--exit"])


def test_the_readme_shows_commands_to_try() -> None:
    words = [command[:2] for command in commands((ROOT / "README.md").read_text())]
    for expected in (["make", "demo"], ["make", "test"], ["corkboard", "up"], ["corkboard", "feed"]):
        assert expected in words


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text())
    assert [link for link in LINK.findall(text) if not leads_somewhere(path, link)] == []


def leads_somewhere(path: Path, link: str) -> bool:
    """Whether a relative link names a file, and a heading of it when it has an anchor; others are not looked at."""
    if re.match(r"[a-z]+:", link):
        return True
    file, _, anchor = link.partition("#")
    target = path.parent / file if file else path
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
    return not anchor or anchor in [ANCHOR.sub("", heading.lower()).strip().replace(" ", "-") for heading in headings]


def test_a_broken_link_would_be_noticed() -> None:
    readme = ROOT / "README.md"
    assert leads_somewhere(readme, "docs/architecture.md") and leads_somewhere(readme, "https://example.org")
    assert leads_somewhere(readme, "#two-commands") and leads_somewhere(readme, "docs/architecture.md#two-journeys")
    assert not leads_somewhere(readme, "docs/nowhere.md") and not leads_somewhere(readme, "#nowhere")


def stubs_of(tree: ast.AST) -> dict[str, Any]:
    """The generated modules that an example imports, by the names it gives them."""
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {
        alias.name: importlib.import_module(f"{node.module}.{alias.name}")
        for node in imported
        if str(node.module).startswith("protos.")
        for alias in node.names
    }


def fields_by_message(stubs: dict[str, Any]) -> dict[str, set[str]]:
    """Fields of every message that the stubs, and what they import, describe."""
    files = [stub.DESCRIPTOR for stub in stubs.values() if hasattr(stub, "DESCRIPTOR")]
    return {
        name: set(message.fields_by_name)
        for file in [*files, *(other for file in files for other in file.dependencies)]
        for name, message in file.message_types_by_name.items()
    }


@pytest.mark.parametrize("block", blocks((ROOT / "README.md").read_text(), "python"))
def test_the_python_example_says_what_the_stubs_say(block: str) -> None:
    tree = ast.parse(block)
    stubs = stubs_of(tree)
    messages = fields_by_message(stubs)
    fields = set().union(*messages.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            assert owner == "grpc" or node.attr in (dir(stubs[owner]) if owner in stubs else fields), ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in messages:
            assert {keyword.arg for keyword in node.keywords} <= messages[node.func.attr], ast.unparse(node)


def test_the_readme_has_a_python_example_of_at_most_ten_lines() -> None:
    (block,) = blocks((ROOT / "README.md").read_text(), "python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


def test_the_changelog_has_a_section_for_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert "unreleased" in headings[0].lower()
