"""Every Prometheus metric that the code registers, read from its source."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("chassis", "services", "sequences")
KINDS = ("counter", "gauge", "histogram")
PROCESS = {
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
}
"""What prometheus_client's ProcessCollector adds on Linux."""


@dataclass(frozen=True)
class Registered:
    """`labels` is None when the source does not tell them as literals."""

    name: str
    kind: str
    labels: frozenset[str] | None

    @property
    def series(self) -> tuple[str, ...]:
        """Names under which Prometheus stores it."""
        if self.kind == "histogram":
            return tuple(self.name + suffix for suffix in ("_bucket", "_sum", "_count"))
        if self.kind == "counter":
            return (self.name if self.name.endswith("_total") else f"{self.name}_total",)
        return (self.name,)


def registered(root: Path = ROOT) -> list[Registered]:
    """All of them, in the order of files."""
    files = [path for room in ROOMS for path in sorted((root / room).rglob("*.py")) if "tests" not in path.parts]
    return [metric for path in files for metric in in_source(path.read_text())]


def in_source(text: str) -> Iterator[Registered]:
    """Calls of `….counter("name", help, labels)` and its siblings."""
    tree = ast.parse(text)
    tuples = _literal_tuples(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in KINDS
            and node.args
        ):
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield Registered(name.value, node.func.attr, _labels(node, tuples))


def _labels(call: ast.Call, tuples: dict[str, tuple[str, ...]]) -> frozenset[str] | None:
    given = call.args[2] if len(call.args) > 2 else next((k.value for k in call.keywords if k.arg == "labels"), None)
    if given is None:
        return frozenset()
    if isinstance(given, ast.Name):
        return frozenset(tuples[given.id]) if given.id in tuples else None
    try:
        return frozenset(ast.literal_eval(given))
    except ValueError:
        return None


def _literal_tuples(tree: ast.AST) -> dict[str, tuple[str, ...]]:
    """Names that are assigned one tuple of strings in the whole file."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
                found.setdefault(node.targets[0].id, set()).add(value)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
