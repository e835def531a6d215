"""What is installed by hash is what the constraints say, of all that is asked for, from nowhere in particular."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
HASHED = re.compile(r"^([A-Za-z0-9._-]+)==.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
NOT_LOCKED = {"torch"}  # and what it brings: builds differ by platform and accelerator
BUILDS_OURSELVES = {"corkboard", "hatchling", "tomlkit", "trove-classifiers"}  # pip gets them for itself


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


def pins(text: str) -> dict[str, str]:
    return {canonical(name): version for name, version in PINNED.findall(text)}


def asked_for() -> set[str]:
    """Names of direct dependencies, of every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    return {canonical(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in wanted}


def test_versions_are_those_of_the_constraints(lock: str) -> None:
    constraints, locked = pins((ROOT / "constraints.txt").read_text()), pins(lock)
    assert {name: locked[name] for name in constraints.keys() & locked.keys()} == {
        name: constraints[name] for name in constraints.keys() & locked.keys()
    }


def test_every_direct_dependency_is_locked(lock: str) -> None:
    assert asked_for() - pins(lock).keys() - NOT_LOCKED - BUILDS_OURSELVES == set()


def test_every_package_has_hashes_and_comes_from_nowhere_in_particular(lock: str) -> None:
    blocks = [found.group(0) for found in HASHED.finditer(lock)]
    assert len(blocks) == len(pins(lock)) > 100
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"https?://|--index-url|--find-links|--trusted-host", lock)


def test_what_torch_brings_is_left_out(lock: str) -> None:
    assert not [name for name in pins(lock) if name in NOT_LOCKED or name.startswith(("nvidia-", "cuda-", "triton"))]
