"""Starts the indexer."""

import sys

import pyarrow as pa

from chassis.lifecycle import run
from services.indexer.config import Config
from services.indexer.wiring import build

if __name__ == "__main__":
    # Arrow's own allocator keeps what ended threads had: with a commit of the lake every few seconds 4 MB a minute
    pa.set_memory_pool(pa.system_memory_pool())
    sys.exit(run("indexer", Config, build))
