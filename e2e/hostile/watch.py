"""What a house says of itself while it is ill-treated: counters, processes, logs."""

import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from e2e.house import House

BUG = re.compile(r"rpc_failed|Traceback|handler raised what it should not|unhandled")


def counted(house: House, process: str, series: str, **labels: str) -> float:
    """The sum over a process's samples of a counter that have these labels."""
    url = f"http://127.0.0.1:{house.endpoints.ports.admin(process, 0)}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == series]
    return sum(one.value for one in samples if labels.items() <= one.labels.items())


class Watch:
    """Processes and their logs since it was made."""

    def __init__(self, house: House, names: tuple[str, ...]) -> None:
        self._house = house
        self._pids = {name: house.pid(name) for name in names}
        self._ends = {path: path.stat().st_size for path in self._logs()}

    def restarted(self) -> Mapping[str, int]:
        """Processes that are not the ones of the beginning."""
        return {name: self._house.pid(name) for name, pid in self._pids.items() if self._house.pid(name) != pid}

    def bugs(self) -> list[str]:
        """Lines of the logs since then that tell of a bug."""
        return [line[:2_000] for path in self._logs() for line in self._new(path) if BUG.search(line)]

    def _logs(self) -> list[Path]:
        return sorted(self._house.home.logs.glob("*.log"))

    def _new(self, path: Path) -> list[str]:
        with path.open("rb") as log:
            log.seek(self._ends.get(path, 0))
            return log.read().decode(errors="replace").splitlines()
