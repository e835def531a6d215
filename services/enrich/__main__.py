"""Starts enrich."""

import sys

from chassis.lifecycle import run
from services.enrich.config import Config
from services.enrich.wiring import build

if __name__ == "__main__":
    sys.exit(run("enrich", Config, build))
