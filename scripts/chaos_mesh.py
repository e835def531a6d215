"""Writes charts/chaos/: the chaos scenarios as Chaos Mesh workflows, from `e2e/chaos/scenarios.py`."""

from pathlib import Path

import yaml

from e2e.chaos.mesh import workflows

FOLDER = Path(__file__).parent.parent / "charts" / "chaos"
HEAD = "# Made by scripts/chaos_mesh.py from e2e/chaos/scenarios.py; do not edit.\n"


def files() -> dict[Path, str]:
    """Every manifest as it should be."""
    return {FOLDER / f"{name}.yaml": HEAD + yaml.safe_dump(one, sort_keys=False) for name, one in workflows().items()}


def main() -> None:
    wanted = files()
    for path in set(FOLDER.glob("*.yaml")) - set(wanted):
        path.unlink()
        print(f"removed: {path.name}")  # noqa: T201
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.name}")  # noqa: T201


if __name__ == "__main__":
    main()
