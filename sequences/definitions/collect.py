"""Runs definition files and collects the definitions they make."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from chassis.errors import Invalid
from sequences.definitions.definition import Definition
from sequences.definitions.definitions import Definitions, assemble

ROOMS = ("events", "enrichments", "sequences", "surfaces", "spacing")


Progress = Callable[[str, Sequence[Definition] | None], None]
"""Told each file's name before it runs (with None) and after (with what it defines)."""


def collect(root: Path, progress: Progress = lambda _file, _found: None) -> Definitions:
    """Every definition bound to a module-level name in `root/<room>/*.py`. Raises: Invalid naming the file."""
    found: list[Definition] = []
    for path in _files(root):
        name = f"{path.parent.name}/{path.name}"
        progress(name, None)
        defined = _definitions_of(_execute(path, name))
        progress(name, defined)
        found.extend(defined)
    return assemble(found)


def _files(root: Path) -> list[Path]:
    files = [path for room in ROOMS for path in sorted((root / room).glob("*.py")) if path.name != "__init__.py"]
    if not files:
        raise Invalid(f"no definition files under {root.name}/", reason="no_definitions")
    return files


def _execute(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"definitions.{path.parent.name}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Invalid(f"cannot load {name}", field=name)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except MemoryError as error:
        raise Invalid(f"{name}: needs more memory than definitions may use", field=name, reason="over_limit") from error
    except (Exception, SystemExit) as error:  # SystemExit: a definition must not end the compiler
        raise Invalid(f"{name}: {type(error).__name__}: {error}", field=name, reason="bad_definition") from error
    return module


def _definitions_of(module: ModuleType) -> list[Definition]:
    return [value for name, value in vars(module).items() if isinstance(value, Definition) and not name.startswith("_")]
