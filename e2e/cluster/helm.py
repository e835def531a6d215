"""Helm as a person uses it, on the cluster of these tests."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.charts import CHARTS, SERVICES, UMBRELLA, built, helm

TIMEOUT_S = 300
ONCE = ("indexer-lake", "quota")  # in the first zone only
DEV = CHARTS / "zones" / "dev.yaml"


def is_there() -> bool:
    return helm() is not None


@dataclass(frozen=True)
class Helm:
    """Releases of one namespace, with images of one tag."""

    kubeconfig: str
    namespace: str
    tag: str
    registry: str = ""

    def run(self, *arguments: str) -> str:
        """What it prints. Raises: AssertionError with what it complained of."""
        command = [str(helm()), *arguments, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def install(self, release: str, chart: str, *options: str) -> None:
        images = f"global.imageTag={self.tag},global.imageRegistry={self.registry}"
        self.run("upgrade", "--install", release, str(built() / chart), "--set", images, *options)

    def install_zone(self, zone: str, *, is_first: bool) -> str:
        """All services of a zone as one release; quota and the lake's writer in the first. Returns its name."""
        once = ",".join(f"{name}.enabled=true" for name in ONCE)
        options = ("--set", once) if is_first else ()
        release = f"{UMBRELLA}-{zone}"
        self.install(release, UMBRELLA, "-f", str(CHARTS / "zones" / f"{zone}.yaml"), "-f", str(DEV), *options)
        return release

    def install_services(self, zone: str, folder: Path) -> list[str]:
        """Each service of a zone as a release of its own. Returns their names."""
        return [self.install_service(service, zone, folder) for service in SERVICES if service not in ONCE]

    def install_service(self, service: str, zone: str, folder: Path, *options: str) -> str:
        """One service, with its part of the umbrella's development values; `folder` takes the file."""
        path = folder / f"{service}.yaml"
        path.write_text(yaml.safe_dump(values_of(service)))
        release = f"{service}-{zone}"
        self.install(release, service, "-f", str(CHARTS / "zones" / f"{zone}.yaml"), "-f", str(path), *options)
        return release

    def test(self, release: str) -> None:
        """`helm test`: every service answers its health check from another pod."""
        self.run("test", release, "--timeout", "180s")

    def upgrade(self, release: str, service: str, *settings: str) -> None:
        """Deploy one service anew, and wait until the new pods serve and the old ones are gone."""
        self._upgrade(release, service, "--set-string", settings)

    def set(self, release: str, service: str, *settings: str) -> None:
        """As `upgrade`, with numbers and truth values as such."""
        self._upgrade(release, service, "--set", settings)

    def _upgrade(self, release: str, service: str, option: str, settings: Sequence[str]) -> None:
        given = [part for setting in settings for part in (option, setting)]
        self.run("upgrade", release, str(built() / service), "--reuse-values", "--wait", *given)

    def rollback(self, release: str) -> None:
        self.run("rollback", release, "--wait")


def values_of(service: str) -> dict[str, Any]:
    """What charts/zones/dev.yaml says of one service, as its own chart takes it."""
    whole = yaml.safe_load(DEV.read_text())
    return {**whole[service], "global": whole["global"]}
