"""Definitions as a bundle: one JSON file under a version that follows from its content."""

from pathlib import Path

from chassis.errors import Corrupt
from sequences.definitions.definitions import Definitions, parse

NAME = "definitions"
FILE = "definitions.json"


def load(path: Path) -> Definitions:
    """Read the definitions of an opened bundle directory. Raises: Corrupt."""
    try:
        content = (path / FILE).read_bytes()
    except OSError as error:
        raise Corrupt(f"bundle {path.name} has no readable {FILE}: {error}", reason="missing_file") from error
    return parse(content)
