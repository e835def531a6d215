"""Proposes better limits from the ledger's usage, or tries a strategy on the past; changes nothing.

`python -m services.quota.offline.rightsize [--prefix surface/] [--strategy underuse] [--backtest]`

With the same QUOTA_ variables as the service, which may run meanwhile. Prints one JSON object per line; `corkboard
quota rightsize` asks the service for the same and can make drafts of it.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from chassis.clock import SYSTEM_CLOCK
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from services.quota.app.rightsizing import Rightsizing
from services.quota.app.usage import UsageReader
from services.quota.config import Config
from services.quota.domain.backtest import Outcome
from services.quota.domain.rightsizing import Proposal
from services.quota.wiring import open_ledger, strategies

STOP_S = 5.0

log = get_logger(__name__)


async def run(config: Config, prefix: str, strategy: str, *, is_backtest: bool) -> list[Mapping[str, Any]]:
    """Rows to print. Raises: Invalid for an unknown strategy, Unavailable."""
    ledger = open_ledger(config.ledger_path, config.ledger_url)
    await ledger.database.open()
    try:
        reader = UsageReader(ledger.usage, None, SYSTEM_CLOCK)
        rightsizing = Rightsizing(ledger.rules, reader, SYSTEM_CLOCK, strategies(config))
        if is_backtest:
            return list(_outcomes(await rightsizing.backtest(prefix, strategy)))
        return list(_proposals(await rightsizing.propose(prefix, strategy)))
    finally:
        await ledger.database.stop(Deadline.after(STOP_S))


def _outcomes(outcomes: Iterable[Outcome]) -> Iterable[Mapping[str, Any]]:
    for outcome in outcomes:
        yield asdict(outcome) | {"saved": outcome.saved}


def _proposals(proposals: Iterable[Proposal]) -> Iterable[Mapping[str, Any]]:
    for each in proposals:
        yield {
            "key": each.current.key,
            "version": each.current.version,
            "limit": each.current.limit,
            "proposed": each.proposed.limit,
            "unit": each.current.unit,
            "why": each.why,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when done, 1 for bad input or a ledger that is away."""
    parser = argparse.ArgumentParser(description="Better limits out of recorded usage.")
    parser.add_argument("--prefix", default="", help="only rules whose key begins so")
    parser.add_argument("--strategy", default="", help="default, growth, burst, underuse or a plug-in")
    parser.add_argument("--backtest", action="store_true", help="try it on the past instead")
    options = parser.parse_args(arguments)
    try:
        config = load(Config, "QUOTA_", os.environ)
        rows = asyncio.run(run(config, options.prefix, options.strategy, is_backtest=options.backtest))
    except CorkboardError as error:
        log.error("nothing proposed", error=str(error), field=error.field)
        return 1
    sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
