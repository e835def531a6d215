"""The trace receiver as a process: `python -m corkboard.traces --port N --database FILE`."""

import argparse
import asyncio
from pathlib import Path

from corkboard.traces.receiver import serve
from corkboard.traces.store import TraceStore


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, TraceStore(arguments.database)))


if __name__ == "__main__":
    main()
