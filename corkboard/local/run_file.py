"""What an earlier or running supervisor wrote down, so that its processes can be recognised."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from corkboard.local.process import created_at_s


@dataclass(frozen=True)
class RunningProcess:
    """A process that a supervisor started. `created_at_s` guards against a reused pid."""

    name: str
    pid: int
    created_at_s: float

    def is_alive(self) -> bool:
        return self.created_at_s > 0 and abs(created_at_s(self.pid) - self.created_at_s) < 0.01


@dataclass(frozen=True)
class RunFile:
    """The supervisor, its options and its processes."""

    supervisor: RunningProcess
    port_base: int
    zones: tuple[str, ...]
    num_brokers: int
    processes: tuple[RunningProcess, ...]

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self), indent=2))
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> "RunFile | None":
        """None when there is no readable file: then nothing is known to run."""
        try:
            raw = json.loads(path.read_text())
            return cls(
                RunningProcess(**raw["supervisor"]),
                raw["port_base"],
                tuple(raw["zones"]),
                raw["num_brokers"],
                tuple(RunningProcess(**item) for item in raw["processes"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def alive(self) -> list[RunningProcess]:
        """Processes that still run, whoever supervises them."""
        return [process for process in self.processes if process.is_alive()]
