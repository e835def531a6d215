"""`python -m services.ranker`: ranking as a process, root or leaf by RANKER_ROLE."""

import sys

from chassis.lifecycle import run
from services.ranker.config import Config
from services.ranker.wiring import build

if __name__ == "__main__":
    sys.exit(run("ranker", Config, build))
