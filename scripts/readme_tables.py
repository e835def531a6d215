"""Writes the configuration table of each service's README from its Config; `--check` only says which are stale."""

import importlib
import re
import sys
from pathlib import Path

from chassis.config import ServiceConfig

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- config -->", "<!-- /config -->"
BETWEEN = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
HEAD = ("| field | variable | default | meaning |", "| --- | --- | --- | --- |")


def services() -> list[str]:
    """Names of the services, in order."""
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/config.py"))


def readme_of(service: str) -> Path:
    return ROOT / "services" / service / "README.md"


def table(service: str) -> str:
    """The table in Markdown, one row per field, in the order of Config."""
    config_type: type[ServiceConfig] = importlib.import_module(f"services.{service}.config").Config
    rows = []
    for name, field in config_type.model_fields.items():
        cells = (f"`{name}`", f"`{service.upper()}_{name.upper()}`", _default(field.default), field.description or "")
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join([*HEAD, *rows])


def fresh(service: str, text: str) -> str:
    """`text` with the table between its markers made anew.

    Raises: ValueError when the markers are not there exactly once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"services/{service}/README.md needs {BEGIN} and {END} once")
    return BETWEEN.sub(lambda _: f"{BEGIN}\n{table(service)}\n{END}", text)


def main() -> int:
    """Write what is stale; with `--check` write nothing and return 1 when something is."""
    stale = []
    for service in services():
        text = readme_of(service).read_text()
        if (made := fresh(service, text)) != text:
            stale.append(f"services/{service}/README.md")
            if "--check" not in sys.argv[1:]:
                readme_of(service).write_text(made)
    sys.stderr.write("".join(f"{'stale' if '--check' in sys.argv[1:] else 'written'}: {name}\n" for name in stale))
    return int(bool(stale) and "--check" in sys.argv[1:])


def _default(value: object) -> str:
    return "" if value == "" else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
