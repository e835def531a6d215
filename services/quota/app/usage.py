"""What was used: asked for, from the ledger and from the lake, and forgotten in time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid, Unavailable
from chassis.logs import get_logger
from chassis.protection.usage import UsageWindow
from services.quota.ports import UsageHistory, UsageLedger

MINUTE_MS = 60_000
PRUNE_S = 3_600.0
EARLIEST_MS = 1_577_836_800_000  # 2020: nobody used anything before, and the lake is asked slice by slice

log = get_logger(__name__)


@dataclass(frozen=True)
class Found:
    """Minutes summed over instances, by key and time; `missing` says which part could not be read, and why."""

    windows: Sequence[UsageWindow]
    missing: str = ""
    is_lake_away: bool = False  # it should have answered and did not


class UsageReader:
    """The ledger for as long as it goes back, the lake for what was before."""

    def __init__(self, ledger: UsageLedger, history: UsageHistory | None, clock: Clock) -> None:
        self._ledger, self._history, self._clock = ledger, history, clock

    async def query(self, key_prefix: str, from_ms: int, to_ms: int) -> Found:
        """Minutes of [from, to). `to_ms` 0 = now. Raises: Invalid when the range is turned around, Unavailable."""
        end_ms = to_ms or self._clock.now_ms() + 1
        if from_ms < 0 or end_ms < from_ms:
            raise Invalid(f"time range [{from_ms}, {end_ms}) is turned around or negative", field="from_time_ms")
        cut_ms = await self._complete_from(end_ms)
        if from_ms >= cut_ms:
            return await self._ledger_only(key_prefix, from_ms, end_ms)
        if self._history is None:
            missing = f"the ledger begins at {_shown(cut_ms)}, and no lake is configured for what was before"
            return await self._ledger_only(key_prefix, from_ms, end_ms, missing)
        try:
            older = await self._history.query_usage(key_prefix, max(from_ms, EARLIEST_MS), cut_ms)
        except CorkboardError as error:
            found = await self._ledger_only(key_prefix, from_ms, end_ms)
            return replace(found, missing=f"what was before {_shown(cut_ms)}: the lake: {error}", is_lake_away=True)
        newer = await self._ledger.query_usage(key_prefix, cut_ms, end_ms) if cut_ms < end_ms else []
        return Found(sorted([*older, *newer], key=lambda window: (window.key, window.window_start_ms)))

    async def _complete_from(self, end_ms: int) -> int:
        """From which minute on the ledger has everything: its first one may have begun before it did."""
        oldest_ms = await self._ledger.oldest_ms()
        if oldest_ms is None:
            return end_ms
        return oldest_ms + MINUTE_MS if oldest_ms + MINUTE_MS < end_ms else min(oldest_ms, end_ms)

    async def _ledger_only(self, key_prefix: str, from_ms: int, end_ms: int, missing: str = "") -> Found:
        return Found(list(await self._ledger.query_usage(key_prefix, from_ms, end_ms)), missing)


def _shown(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="minutes")


@dataclass(frozen=True)
class Retention:
    """How much usage is kept."""

    max_age_s: float
    max_rows: int


class UsageRetention:
    """Forgets old usage every hour."""

    def __init__(self, ledger: UsageLedger, clock: Clock, retention: Retention) -> None:
        self.name = "usage retention"
        self._ledger, self._clock, self._retention = ledger, clock, retention

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds."""
        tasks.create_task(self._prune_forever())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to finish."""

    async def prune(self) -> int:
        """One round; how many rows went."""
        before_ms = self._clock.now_ms() - int(self._retention.max_age_s * 1000)
        return await self._ledger.prune_usage(before_ms, self._retention.max_rows)

    async def _prune_forever(self) -> None:
        while True:
            try:
                if num_rows := await self.prune():
                    log.info("usage forgotten", rows=num_rows)
            except Unavailable as error:
                log.warning("usage not pruned", error=str(error))
            await self._clock.sleep(PRUNE_S)
