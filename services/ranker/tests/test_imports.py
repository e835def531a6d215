"""A root is many and small: it must start without torch."""

import subprocess
import sys

PROGRAM = """
import sys
import services.ranker.__main__
from chassis.testing import InMemoryBus
from services.ranker.config import Config
from services.ranker.wiring import build
build(Config(role={role!r}, state_dir={folder!r}, bundles_uri={folder!r}), bus=InMemoryBus())
sys.exit(int("torch" in sys.modules))
"""


def _loads_torch(role: str, folder: str) -> int:
    program = PROGRAM.format(role=role, folder=folder)
    return subprocess.run([sys.executable, "-c", program], check=False).returncode  # noqa: S603 - our own program


def test_only_the_leaf_loads_torch(tmp_path: object) -> None:
    assert _loads_torch("root", str(tmp_path)) == 0
    assert _loads_torch("leaf", str(tmp_path)) == 1
