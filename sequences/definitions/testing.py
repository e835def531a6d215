"""The repository's own definitions, for tests of every room."""

from functools import cache
from pathlib import Path

from sequences.definitions.collect import collect
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check

ROOT = Path(__file__).parents[2] / "definitions"


@cache
def repository_definitions() -> Definitions:
    """Compiled in this process, and valid."""
    definitions = collect(ROOT)
    check(definitions)
    return definitions
