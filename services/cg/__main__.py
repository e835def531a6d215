"""`python -m services.cg`: candidate generation as a process."""

import sys

from chassis.lifecycle import run
from services.cg.config import Config
from services.cg.wiring import build

if __name__ == "__main__":
    sys.exit(run("cg", Config, build))
