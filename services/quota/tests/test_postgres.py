"""What is special about a ledger in PostgreSQL: it goes away, comes back, and is named wrongly."""

import time

import pytest

from chassis.config import redacted
from chassis.deadline import Deadline
from chassis.errors import Invalid, Unavailable
from chassis.protection.rule import Rule
from services.quota.config import Config
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.tests import postgres
from services.quota.wiring import open_ledger

STEP = Step("create", "ann", "because", 1_000)


async def test_server_that_crashes_makes_calls_unavailable_and_is_used_again_when_back(
    postgres_server: postgres.PostgresServer, postgres_url: str
) -> None:
    ledger = open_ledger("", postgres_url)
    await ledger.database.open()
    version = RuleVersion(Rule("a", 5.0, version=1), RuleState.DRAFT, 1_000, "ann", "because", "ann")
    await ledger.rules.write([AuditRecord(STEP, None, version)])
    postgres_server.stop()
    try:
        begun_s = time.monotonic()
        with pytest.raises(Unavailable):
            await ledger.rules.read("a")
        assert time.monotonic() - begun_s < 4.0
    finally:
        postgres_server.start()
    assert await ledger.rules.read("a") == version
    await ledger.database.stop(Deadline.after(1.0))


async def test_server_that_is_not_there_fails_the_start() -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_ledger("", "postgresql://x@127.0.0.1:9/nothing").database.open()


async def test_address_that_is_none_is_invalid() -> None:
    with pytest.raises(Invalid) as refused:
        await open_ledger("", "postgresql://x@host/q?wishes=3").database.open()
    assert refused.value.field == "ledger_url"


async def test_text_that_postgres_cannot_hold_is_invalid(postgres_url: str) -> None:
    ledger = open_ledger("", postgres_url)
    await ledger.database.open()
    with pytest.raises(Invalid):
        await ledger.rules.read("a\x00b")
    await ledger.database.stop(Deadline.after(1.0))


def test_password_in_the_address_is_not_shown() -> None:
    shown = redacted(Config(ledger_url="postgresql://quota:hunter2@db/quota"))
    assert "hunter2" not in str(shown)
