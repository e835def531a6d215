"""Starts the quota control plane from its environment."""

import sys

from chassis.lifecycle import run
from services.quota.config import Config
from services.quota.wiring import build

if __name__ == "__main__":
    sys.exit(run("quota", Config, build))
