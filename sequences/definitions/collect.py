"""Runs definition files and collects the definitions they make."""

import importlib.util
from pathlib import Path
from types import ModuleType

from chassis.errors import Invalid
from sequences.definitions.definition import Definition
from sequences.definitions.definitions import Definitions, assemble

ROOMS = ("events", "enrichments", "sequences", "surfaces", "spacing")


def collect(root: Path) -> Definitions:
    """Every definition bound to a module-level name in `root/<room>/*.py`. Raises: Invalid naming the file."""
    found: list[Definition] = []
    for path in _files(root):
        found.extend(_definitions_of(_execute(path)))
    return assemble(found)


def _files(root: Path) -> list[Path]:
    files = [path for room in ROOMS for path in sorted((root / room).glob("*.py")) if path.name != "__init__.py"]
    if not files:
        raise Invalid(f"no definition files under {root.name}/", reason="no_definitions")
    return files


def _execute(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"definitions.{path.parent.name}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Invalid(f"cannot load {path.name}", field=path.name)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Invalid(f"{path.parent.name}/{path.name}: {type(error).__name__}: {error}", field=path.name) from error
    return module


def _definitions_of(module: ModuleType) -> list[Definition]:
    return [value for name, value in vars(module).items() if isinstance(value, Definition) and not name.startswith("_")]
