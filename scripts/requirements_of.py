"""Prints what an image installs, from pyproject.toml beside it: `requirements_of.py [EXTRA [without NAME]]`.

Without EXTRA the project's own dependencies, else those of the extra alone; NAME is left to another step of the image.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(project: Path, extra: str = "", without: str = "") -> list[str]:
    """Requirements as pip takes them. Raises: KeyError for an extra that does not exist."""
    table = tomllib.loads(project.read_text())["project"]
    wanted = table["optional-dependencies"][extra] if extra else table["dependencies"]
    return [each for each in wanted if re.split(r"[^\w.-]", each, maxsplit=1)[0] != without]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    extra, _, without = [*arguments, "", "", ""][:3]
    sys.stdout.write("\n".join([*requirements(Path("pyproject.toml"), extra, without), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
