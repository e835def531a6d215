"""Ledgers for tests: every test that asks for `ledger` runs on SQLite and, where it is installed, on PostgreSQL."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chassis.deadline import Deadline
from services.quota.tests import postgres
from services.quota.wiring import Ledger, open_ledger

_names = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """One cluster for all tests of this process."""
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.PostgresServer) -> str:
    """An empty schema."""
    return postgres_server.new_schema(f"test_{next(_names)}")


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """(path, url) of an empty ledger, as `open_ledger` takes them."""
    if request.param == "postgres":
        return "", str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / "ledger" / "quota.sqlite"), ""


@pytest.fixture
async def ledger(address: tuple[str, str]) -> AsyncIterator[Ledger]:
    """An open, empty ledger."""
    ledger = open_ledger(*address)
    await ledger.database.open()
    yield ledger
    await ledger.database.stop(Deadline.after(1.0))
