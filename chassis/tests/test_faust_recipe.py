"""Faust is used in one place and by the one recipe that loses nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("chassis", "services", "sequences", "corkboard", "modeling", "protos")
RECIPE = {ROOT / "chassis/kafka/faust_app.py", ROOT / "chassis/kafka/faust_transport.py"}
# Acks before the effect; sends that cannot be waited for; tables as truth.
FORBIDDEN_CALLS = set(
    [
        "take",
        "take_events",
        "noack_take",
        "Table",
        "GlobalTable",
        "SetTable",
        "send",
        "send_soon",
        "forward",
        "echo",
        "through",
    ]
)


def faults(source: str) -> Iterator[str]:
    """What a file does that the recipe forbids."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_CALLS:
            yield f"calls {node.func.attr}"
        if isinstance(node, ast.AsyncFor) and "noack()" not in ast.unparse(node.iter):
            yield f"loops over {ast.unparse(node.iter)} without noack()"
        if isinstance(node, ast.keyword) and node.arg == "stream_wait_empty" and ast.unparse(node.value) != "False":
            yield "waits for empty streams"
        if isinstance(node, ast.keyword) and node.arg == "processing_guarantee":
            yield "wants exactly once"


def imports_faust(source: str) -> bool:
    modules = [name.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for name in node.names]
    modules += [node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return any(module.split(".")[0] == "faust" for module in modules)


def test_the_recipe_is_kept() -> None:
    for path in RECIPE:
        assert list(faults(path.read_text())) == [], path
    app = (ROOT / "chassis/kafka/faust_app.py").read_text()
    assert "stream.noack().events()" in app
    assert "stream_wait_empty=False" in app
    assert "await stream.ack(event)" in app


def test_nobody_else_uses_faust() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path not in RECIPE]
    assert [path for path in files if "faust" in path.read_text() and imports_faust(path.read_text())] == []


@pytest.mark.parametrize(
    "planted",
    [
        "async def f(stream):\n  async for event in stream.events(): pass",
        "async def f(stream):\n  async for events in stream.noack().take_events(20, 0.2): pass",
        "async def f(topic):\n  await topic.send(value=b'x')",
        "t = app.Table('t')",
        "app = App(stream_wait_empty=True)",
    ],
)
def test_a_planted_fault_is_found(planted: str) -> None:
    assert list(faults(planted))
    assert imports_faust("from faust.types import TP") and not imports_faust("import asyncio")
