"""Where a local Corkboard keeps what it writes: one folder, so that removing it removes everything."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder of one local Corkboard."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """`CORKBOARD_HOME`, or `.corkboard` in the current folder."""
        return cls(Path(os.environ.get("CORKBOARD_HOME", ".corkboard")).resolve())

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def traces(self) -> Path:
        return self.root / "traces.sqlite"

    @property
    def certificates(self) -> Path:
        """A folder for each identity; there only while mTLS is on."""
        return self.root / "certificates"

    @property
    def state_file(self) -> Path:
        return self.root / "run.json"

    def service_state(self, name: str) -> Path:
        """Where the process `name` keeps its last-good copies."""
        return self.root / "state" / name

    @property
    def control_socket(self) -> Path:
        """A short path: socket paths are limited to about 100 bytes, this folder's may be longer."""
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"corkboard-{os.getuid()}-{digest}.sock"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.logs, self.data, self.bundles, self.lake):
            folder.mkdir(parents=True, exist_ok=True)
