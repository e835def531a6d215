"""`python -m e2e.leases [--seed N] [--folder PATH]`: one run, its faults and its figures as JSON."""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e2e.leases.fleet import BURST, LEASE_S, LIMIT, Fleet
from e2e.leases.schedule import QUOTAS, World, make_world
from e2e.leases.tally import read
from e2e.leases.verdict import Promise, Verdict, judge
from services.quota.tests import postgres


def run(seed: int, folder: Path, ledger_url: str = "") -> tuple[Fleet, Verdict]:
    """A whole run, about two minutes."""
    fleet, counts = run_world(make_world(seed, LIMIT), seed, folder, ledger_url)
    return fleet, judge(counts, fleet.starts_s(), Promise(LIMIT, BURST, LEASE_S, fleet.world.demands))


def run_world(
    world: World, seed: int, folder: Path, ledger_url: str = ""
) -> tuple[Fleet, dict[str, NDArray[np.int64]]]:
    """A world of one's own, and what each process counted."""
    fleet = Fleet(folder, world, seed, ledger_url)
    asyncio.run(fleet.run())
    return fleet, {name: read(fleet.tally_of(name)) for name in world.demands}


def report(fleet: Fleet, verdict: Verdict) -> dict[str, Any]:
    """What happened and what it came to."""
    return {
        "seed": fleet.seed,
        "ledger": "PostgreSQL" if fleet.ledger_url else "SQLite",
        "faults": [asdict(fault) for fault in fleet.world.faults],
        "leaders_hit": fleet.leaders_hit,
        "epochs": {name: fleet.epochs_of(name) for name in QUOTAS},
        "verdict": asdict(verdict),
        "broken": verdict.broken,
    }


def main() -> int:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="e2e.leases", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="keep the ledger in a PostgreSQL of its own")
    parser.add_argument("--folder", type=Path, default=None, help="keep logs and counts here")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        ledger_url = stack.enter_context(postgres.running()).url if arguments.postgres else ""
        fleet, verdict = run(arguments.seed, folder, ledger_url)
        sys.stdout.write(json.dumps(report(fleet, verdict), indent=1) + "\n")
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
