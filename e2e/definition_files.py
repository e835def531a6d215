"""Definition folders that tests make out of the repository's own, and what processes say about the version in use."""

import json
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from e2e.house import House

WORKING = ("ingest", "enrich", "indexer", "cg", "ranker", "blender")
"""Processes that work with definitions."""
WITHIN_S = 5.0


def definitions_with(folder: Path, files: Mapping[str, str]) -> Path:
    """The repository's definitions in `folder`, with more files or others: {relative path: text}."""
    shutil.copytree(Path(__file__).parents[1] / "definitions", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in files.items():
        (folder / path).write_text(text)
    return folder


def compiled(house: House, folder: Path) -> dict[str, object]:
    """What `definitions diff` says of the folder: active, compiled, changes."""
    found: dict[str, object] = json.loads(house.command("definitions", "diff", "--folder", str(folder), "--json"))
    return found


def page(house: House, service: str, path: str) -> str:
    """A page of a process's admin port."""
    port = house.endpoints.ports.admin(service)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5.0) as answer:
        return str(answer.read().decode())


def versions_in_metrics(house: House) -> dict[str, set[str]]:
    """Process -> definitions versions that its metrics say are in use."""
    found = {}
    for service in WORKING:
        lines = page(house, service, "/metrics").splitlines()
        used = [line for line in lines if line.startswith('bundle_active_info{name="definitions"')]
        found[service] = {line.split('version="')[1].split('"')[0] for line in used if line.endswith(" 1.0")}
    return found
