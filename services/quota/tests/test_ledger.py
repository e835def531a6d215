"""A ledger is durable, refuses stale writers and counts every usage window once, in SQLite as in PostgreSQL."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from chassis.deadline import Deadline
from chassis.errors import Conflict, Unavailable
from chassis.protection.rule import Rule
from chassis.protection.usage import UsageWindow
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.outbound.sql_database import SqlConnection
from services.quota.wiring import Ledger, open_ledger

STEP = Step("create", "ann", "because", 1_000)


def draft(key: str = "a", version: int = 1) -> RuleVersion:
    return RuleVersion(Rule(key, 5.0, version=version), RuleState.DRAFT, 1_000, "ann", "because", "ann")


async def test_write_is_there_after_a_restart_with_its_audit_record(ledger: Ledger) -> None:
    rules = ledger.rules
    await rules.write([AuditRecord(STEP, None, draft())])
    await ledger.database.stop(Deadline.after(1.0))
    await ledger.database.open()
    assert await rules.read("a") == draft()
    assert await rules.history("a") == [AuditRecord(STEP, None, draft())]


async def test_stale_before_is_a_conflict_and_writes_nothing(ledger: Ledger) -> None:
    rules = ledger.rules
    await rules.write([AuditRecord(STEP, None, draft())])
    validated = replace(draft(), state=RuleState.VALIDATED)
    await rules.write([AuditRecord(STEP, draft(), validated)])
    with pytest.raises(Conflict, match="version 1, validated"):
        await rules.write([AuditRecord(STEP, None, draft("b")), AuditRecord(STEP, draft(), validated)])
    assert await rules.read("b") is None
    assert len(await rules.history("a")) == 2


async def test_second_published_version_of_a_key_cannot_be_written(ledger: Ledger) -> None:
    rules = ledger.rules
    published = [replace(draft(version=v), state=RuleState.PUBLISHED) for v in (1, 2)]
    await rules.write([AuditRecord(STEP, None, published[0])])
    with pytest.raises(Conflict):
        await rules.write([AuditRecord(STEP, None, published[1])])
    assert await rules.published("a") == published[0]


async def test_list_takes_prefixes_literally(ledger: Ledger) -> None:
    rules = ledger.rules
    await rules.write([AuditRecord(STEP, None, draft(key)) for key in ("a_b/x", "aXb/x", "*/x")])
    assert [v.key for v in await rules.list_rules("a_", is_published_only=False)] == ["a_b/x"]
    assert [v.key for v in await rules.list_rules("*", is_published_only=False)] == ["*/x"]
    assert await rules.list_rules("", is_published_only=True) == []


async def test_newer_ticket_stays_when_an_older_one_was_sent(ledger: Ledger) -> None:
    rules = ledger.rules
    await rules.write([AuditRecord(STEP, None, draft())], is_dispatched=True)
    ((ticket, key),) = await rules.unsent()
    await rules.write([AuditRecord(STEP, None, draft(version=2))], is_dispatched=True)
    await rules.mark_sent(ticket, key)
    ((newer, _),) = await rules.unsent()
    assert newer > ticket
    await rules.mark_sent(newer, key)
    assert await rules.unsent() == []


def window(start_ms: int, instance: str = "i1", admitted: float = 2.0, key: str = "a") -> UsageWindow:
    return UsageWindow(key, start_ms, 10_000, admitted, 1.0, 0.5, 3, "blender", instance, "zone-a")


async def test_usage_is_summed_over_instances_and_counted_once(ledger: Ledger) -> None:
    usage = ledger.usage
    windows = [window(60_000), window(70_000), window(65_000, "i2"), window(120_000), window(60_000, key="b")]
    for _ in range(2):
        await usage.add_usage(windows)
    found = await usage.query_usage("a", 0, 1_000_000)
    assert [(w.window_start_ms, w.admitted, w.refused, w.instance) for w in found] == [
        (60_000, 6.0, 3.0, ""),
        (120_000, 2.0, 1.0, ""),
    ]
    assert [w.key for w in await usage.query_usage("", 60_000, 61_000)] == ["a", "b"]


async def test_pruning_bounds_usage_by_age_and_by_rows(ledger: Ledger) -> None:
    usage = ledger.usage
    await usage.add_usage([window(minute * 60_000) for minute in range(10)])
    assert await usage.prune_usage(3 * 60_000, 1_000) == 3
    assert await usage.prune_usage(0, 4) == 3
    assert [w.window_start_ms // 60_000 for w in await usage.query_usage("", 0, 10**9)] == [6, 7, 8, 9]


async def test_one_leader_at_a_time_and_every_change_is_a_new_epoch(ledger: Ledger) -> None:
    leader = ledger.leader
    first = await leader.claim("one", None)
    assert (first.holder, first.epoch) == ("one", 1)
    assert await leader.claim("two", None) == first
    beat = await leader.claim("one", None)
    assert (beat.epoch, beat.beat) == (1, first.beat + 1)
    assert await leader.claim("two", first) == beat, "the leader it saw has beaten since"
    taken = await leader.claim("two", beat)
    assert (taken.holder, taken.epoch) == ("two", 2)
    assert await leader.cover_leases(1, 9_000) is False
    assert await leader.cover_leases(2, 5_000) is True
    assert (await leader.claim("two", None)).longest_lease_ms == 5_000
    await leader.resign("one")
    assert (await leader.claim("three", None)).holder == "two"
    await leader.resign("two")
    assert (await leader.claim("three", None)).epoch == 3


async def test_rebuilt_ledger_goes_on_above_every_epoch_of_the_lost_one(ledger: Ledger) -> None:
    leader = ledger.leader
    await leader.start_over(1_700_000_000, 9_000)
    row = await leader.claim("one", None)
    assert (row.epoch, row.longest_lease_ms) == (1_700_000_001, 9_000)


async def test_closed_ledger_is_unavailable(ledger: Ledger) -> None:
    await ledger.database.stop(Deadline.after(1.0))
    with pytest.raises(Unavailable, match="closed"):
        await ledger.rules.read("a")


async def test_failed_transaction_leaves_the_connection_usable(ledger: Ledger) -> None:
    counter = itertools.count()

    def fail(connection: SqlConnection) -> None:
        connection.execute("INSERT INTO outbox VALUES ('x', ?)", (next(counter),))
        raise Conflict("planted")

    with pytest.raises(Conflict):
        await ledger.database.run(fail)
    assert await ledger.rules.unsent() == []


@pytest.fixture
async def second(ledger: Ledger, address: tuple[str, str]) -> AsyncIterator[Ledger]:
    """The same ledger as another process has it open."""
    second = open_ledger(*address)
    await second.database.open()
    yield second
    await second.database.stop(Deadline.after(1.0))


async def test_two_processes_that_write_the_same_version_make_one(ledger: Ledger, second: Ledger) -> None:
    writers = [each.rules.write([AuditRecord(STEP, None, draft())]) for each in (ledger, second) * 8]
    outcomes = await asyncio.gather(*writers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict] * 15
    assert len(await ledger.rules.history("a")) == 1


async def test_usage_of_two_processes_adds_up(ledger: Ledger, second: Ledger) -> None:
    writers = [each.usage.add_usage([window(60_000 + n, f"{n}")]) for n, each in enumerate((ledger, second) * 10)]
    await asyncio.gather(*writers)
    (minute,) = await second.usage.query_usage("a", 0, 10**9)
    assert minute.admitted == 40.0


async def test_two_processes_claim_one_leadership(ledger: Ledger, second: Ledger) -> None:
    rows = await asyncio.gather(ledger.leader.claim("one", None), second.leader.claim("two", None))
    assert len({(row.holder, row.epoch) for row in rows}) == 1
    dead = rows[0]
    taken = await asyncio.gather(ledger.leader.claim("three", dead), second.leader.claim("four", dead))
    assert len({(row.holder, row.epoch) for row in taken}) == 1
    assert taken[0].epoch == 2


async def test_numbers_that_are_none_are_kept_as_they_were_asked(ledger: Ledger) -> None:
    odd = replace(draft(), rule=Rule("a", float("inf"), burst=-1.0, owner="\u00e9\u4e16", version=1))
    await ledger.rules.write([AuditRecord(STEP, None, odd)])
    assert await ledger.rules.read("a") == odd
