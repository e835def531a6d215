"""Starts the indexer."""

import os
import sys

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own keeps what ended threads had: 4 MB a minute

from chassis.lifecycle import run
from services.indexer.config import Config
from services.indexer.wiring import build

if __name__ == "__main__":
    sys.exit(run("indexer", Config, build))
