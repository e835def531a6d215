"""A ledger in PostgreSQL, for more than one process of the quota service or when its disk must not matter."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from chassis.deadline import Deadline
from chassis.errors import Conflict, Invalid, Unavailable
from services.quota.outbound.sql_database import SqlConnection, SqlCursor

T = TypeVar("T")
Connection = psycopg.Connection[DictRow]

MAX_CONNECTIONS = 4  # calls are short; a quota service is asked a few hundred times a second at most
CONNECT_S = 2.0  # callers of this service wait 5 s at most
STATEMENT_S = 3.0
TRIES = 8  # transactions that collide are run again; each time one of them got through
FIRST_PAUSE_S = 0.003
SCHEMA_LOCK = 0x436F726B  # two processes that start at once make the tables one after the other

SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
    key TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (key, version));
CREATE UNIQUE INDEX IF NOT EXISTS one_published ON versions (key) WHERE state = 'published';
CREATE TABLE IF NOT EXISTS audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key TEXT COLLATE "C" NOT NULL, time_ms BIGINT NOT NULL,
    actor TEXT NOT NULL, action TEXT NOT NULL, why TEXT NOT NULL, before_body TEXT, after_body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_key ON audit (key, id);
CREATE TABLE IF NOT EXISTS outbox (key TEXT COLLATE "C" PRIMARY KEY, ticket BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS usage_minutes (
    key TEXT COLLATE "C" NOT NULL, minute_ms BIGINT NOT NULL, service TEXT COLLATE "C" NOT NULL,
    zone TEXT COLLATE "C" NOT NULL, admitted DOUBLE PRECISION NOT NULL, refused DOUBLE PRECISION NOT NULL,
    shadow_refused DOUBLE PRECISION NOT NULL, rule_version BIGINT NOT NULL,
    num_instances BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (key, minute_ms, service, zone));
CREATE INDEX IF NOT EXISTS usage_age ON usage_minutes (minute_ms);
CREATE TABLE IF NOT EXISTS usage_seen (
    key TEXT COLLATE "C" NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL, window_start_ms BIGINT NOT NULL,
    PRIMARY KEY (key, service, instance, window_start_ms));
CREATE INDEX IF NOT EXISTS seen_age ON usage_seen (window_start_ms);
CREATE TABLE IF NOT EXISTS leadership (
    id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, epoch BIGINT NOT NULL,
    beat BIGINT NOT NULL, longest_lease_ms BIGINT NOT NULL);
INSERT INTO leadership VALUES (1, '', 0, 0, 0) ON CONFLICT DO NOTHING;
"""


class PostgresDatabase:
    """SqlDatabase: serializable transactions over a small pool that connects again by itself."""

    def __init__(self, url: str) -> None:
        """`url` as libpq takes it; a password is better in PGPASSWORD or a password file."""
        self.name = "ledger"
        self._url = url
        self._pool: ConnectionPool[Connection] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - the pool has threads of its own
        """See `open`."""
        await self.open()

    async def open(self) -> None:
        """See SqlDatabase."""
        if self._pool is None:
            self._pool = await asyncio.to_thread(_open, self._url)

    async def stop(self, deadline: Deadline) -> None:
        """See SqlDatabase."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.close, max(0.1, deadline.remaining_s()))

    async def run(self, work: Callable[[SqlConnection], T]) -> T:
        """See SqlDatabase."""
        if self._pool is None:
            raise Unavailable("the ledger is closed")
        return await asyncio.to_thread(_run, self._pool, work)


class _Statements:
    """SqlConnection: `?` becomes psycopg's placeholder. No statement of ours has either sign in a text."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> SqlCursor:
        return self._connection.execute(statement.replace("?", "%s").encode(), values)


def _open(url: str) -> ConnectionPool[Connection]:
    try:
        with psycopg.connect(url, connect_timeout=int(CONNECT_S)) as connection:  # by itself, for a clear error at once
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            connection.execute(SCHEMA)
    except psycopg.ProgrammingError as error:
        raise Invalid(f"the ledger's address is not usable: {error}", field="ledger_url") from error
    except psycopg.Error as error:
        raise Unavailable(f"the ledger cannot be opened: {error}") from error
    pool = ConnectionPool(
        url,
        connection_class=Connection,
        kwargs={"row_factory": dict_row, "connect_timeout": int(CONNECT_S), "application_name": "corkboard-quota"},
        min_size=1,
        max_size=MAX_CONNECTIONS,
        timeout=CONNECT_S,
        configure=_configure,
        check=ConnectionPool.check_connection,
        open=False,
    )
    pool.open()
    return pool


def _configure(connection: Connection) -> None:
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.execute(f"SET statement_timeout = {int(STATEMENT_S * 1000)}".encode())
    connection.commit()


def _run(pool: ConnectionPool[Connection], work: Callable[[SqlConnection], T]) -> T:
    for attempt in range(TRIES):
        time.sleep(random.uniform(0, FIRST_PAUSE_S * (2**attempt - 1)))  # colliding ones must not meet again
        try:
            with pool.connection() as connection:
                return work(_Statements(connection))
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            continue
        except psycopg.IntegrityError as error:
            raise Conflict(f"the ledger has something else already: {error}") from error
        except psycopg.DataError as error:
            raise Invalid(f"the ledger cannot hold this: {error}") from error
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            raise Unavailable(f"the ledger does not answer: {error}") from error
    raise Conflict(f"{TRIES} times another process changed the same: try again", reason="busy")
