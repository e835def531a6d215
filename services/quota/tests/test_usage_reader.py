"""Usage is read from the ledger for as long as it goes back and from the lake before, each minute once."""

from collections.abc import Sequence

import pytest

from chassis.errors import Invalid, Unavailable
from chassis.protection.rule import Rule
from chassis.protection.usage import UsageWindow
from chassis.testing import FakeClock
from services.quota.app.rightsizing import Rightsizing, series
from services.quota.app.usage import EARLIEST_MS, UsageReader
from services.quota.domain.budget import Budget
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.wiring import Ledger

MINUTE_MS = 60_000
START_MS = FakeClock().now_ms() // MINUTE_MS * MINUTE_MS


def minute(number: int, admitted: float = 1.0, instance: str = "one", **fields: object) -> UsageWindow:
    start_ms = START_MS + number * MINUTE_MS
    return UsageWindow("a", start_ms, 10_000, admitted, 0.5, 0.0, 1, "blender", instance, "az-a", **fields)  # type: ignore[arg-type]


class Lake:
    """UsageHistory: what the lake has, while it is there."""

    def __init__(self, *minutes: UsageWindow) -> None:
        self.minutes, self.is_away = minutes, False
        self.asked: list[tuple[int, int]] = []

    async def query_usage(self, key_prefix: str, from_ms: int, to_ms: int) -> Sequence[UsageWindow]:
        if self.is_away:
            raise Unavailable("planted")
        self.asked.append((from_ms, to_ms))
        found = [each for each in self.minutes if from_ms <= each.window_start_ms < to_ms]
        return [each for each in found if each.key.startswith(key_prefix)]


def clock_at(number: int) -> FakeClock:
    return FakeClock(START_MS + number * MINUTE_MS)


def numbers(windows: Sequence[UsageWindow]) -> list[tuple[int, float]]:
    return [((each.window_start_ms - START_MS) // MINUTE_MS, each.admitted) for each in windows]


async def test_recent_usage_does_not_ask_the_lake(ledger: Ledger) -> None:
    lake = Lake()
    await ledger.usage.add_usage([minute(number) for number in range(5)])
    found = await UsageReader(ledger.usage, lake, clock_at(9)).query("a", START_MS + 2 * MINUTE_MS, 0)
    assert (numbers(found.windows), found.missing, lake.asked) == ([(2, 1.0), (3, 1.0), (4, 1.0)], "", [])


async def test_ledger_that_began_later_is_completed_by_the_lake_and_no_minute_counts_twice(ledger: Ledger) -> None:
    lake = Lake(*(minute(number, 7.0) for number in range(6)))
    await ledger.usage.add_usage([minute(3, 2.0), minute(4, 7.0), minute(5, 7.0)])  # it began within minute 3
    found = await UsageReader(ledger.usage, lake, clock_at(9)).query("a", 0, 0)
    assert numbers(found.windows) == [(number, 7.0) for number in range(6)]
    assert lake.asked == [(EARLIEST_MS, START_MS + 4 * MINUTE_MS)]


async def test_empty_ledger_asks_the_lake_for_everything(ledger: Ledger) -> None:
    found = await UsageReader(ledger.usage, Lake(minute(1), minute(2)), clock_at(9)).query("", 0, 0)
    assert numbers(found.windows) == [(1, 1.0), (2, 1.0)]


@pytest.mark.parametrize("has_lake", [True, False])
async def test_what_cannot_be_read_is_named_and_the_rest_answered(ledger: Ledger, has_lake: bool) -> None:
    lake = Lake()
    lake.is_away = True
    await ledger.usage.add_usage([minute(3)])
    found = await UsageReader(ledger.usage, lake if has_lake else None, clock_at(9)).query("a", 0, 0)
    assert numbers(found.windows) == [(3, 1.0)]
    assert "lake" in found.missing
    assert found.is_lake_away is has_lake


async def test_budget_is_not_judged_by_a_part_of_its_spending(ledger: Ledger) -> None:
    lake = Lake(minute(3, 100.0))
    rule = RuleVersion(Rule("a", 5.0, owner="ann", version=1), RuleState.PUBLISHED, 1, "ann", "", "ann")
    await ledger.rules.write([AuditRecord(Step("publish", "ann", "", 1), None, rule)])
    await ledger.usage.add_usage([minute(3, 100.0)])
    clock = clock_at(9)
    rightsizing = Rightsizing(ledger.rules, UsageReader(ledger.usage, lake, clock), clock)
    budget = Budget("ann", 50.0, price={"requests": 1.0})
    assert [each.current.key for each in await rightsizing.haircuts([budget])] == ["a"]
    lake.is_away = True
    with pytest.raises(Unavailable, match="spending of 'ann' is not known"):
        await rightsizing.haircuts([budget])


async def test_range_that_is_turned_around_is_invalid(ledger: Ledger) -> None:
    with pytest.raises(Invalid):
        await UsageReader(ledger.usage, None, clock_at(9)).query("a", 5, 3)


async def test_processes_of_a_minute_are_counted_once_each(ledger: Ledger) -> None:
    windows = [minute(0, instance="one"), minute(0, instance="two"), minute(1, instance="one")]
    later = UsageWindow("a", START_MS + 10_000, 10_000, 1.0, 0.0, 0.0, 1, "blender", "one", "az-a")
    await ledger.usage.add_usage([*windows, later])
    found = await ledger.usage.query_usage("a", 0, START_MS * 2)
    assert [(each.admitted, each.num_instances) for each in found] == [(3.0, 2), (1.0, 1)]


def test_limit_of_each_process_is_compared_with_the_mean_process_and_a_global_one_with_all() -> None:
    windows = [minute(0, 60.0, num_instances=3), minute(2, 30.0)]
    now_ms = START_MS + 3 * MINUTE_MS
    local, whole = Rule("a", 5.0), Rule("a", 5.0, is_global=True)
    assert series(local, windows, now_ms, is_asked=False).tolist() == pytest.approx([1 / 3, 0.0, 0.5])
    assert series(whole, windows, now_ms, is_asked=False).tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert series(whole, windows, now_ms, is_asked=True)[0] == pytest.approx(60.5 / 60)
