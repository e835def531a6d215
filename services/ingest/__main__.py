"""Starts ingest."""

import sys

from chassis.lifecycle import run
from services.ingest.config import Config
from services.ingest.wiring import build

if __name__ == "__main__":
    sys.exit(run("ingest", Config, build))
