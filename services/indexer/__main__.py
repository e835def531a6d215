"""Starts the indexer."""

import sys

from chassis.lifecycle import run
from services.indexer.config import Config
from services.indexer.wiring import build

if __name__ == "__main__":
    sys.exit(run("indexer", Config, build))
