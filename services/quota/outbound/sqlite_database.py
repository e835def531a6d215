"""A ledger in one SQLite file: one connection, one transaction at a time."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chassis.deadline import Deadline
from chassis.errors import Conflict, Unavailable
from services.quota.outbound.sql_database import SqlConnection

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
    key TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (key, version)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_published ON versions (key) WHERE state = 'published';
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, time_ms INTEGER NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, why TEXT NOT NULL, before_body TEXT, after_body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_key ON audit (key, id);
CREATE TABLE IF NOT EXISTS outbox (key TEXT PRIMARY KEY, ticket INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS usage_minutes (
    key TEXT NOT NULL, minute_ms INTEGER NOT NULL, service TEXT NOT NULL, zone TEXT NOT NULL,
    admitted REAL NOT NULL, refused REAL NOT NULL, shadow_refused REAL NOT NULL, rule_version INTEGER NOT NULL,
    num_instances INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (key, minute_ms, service, zone)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_age ON usage_minutes (minute_ms);
CREATE TABLE IF NOT EXISTS usage_seen (
    key TEXT NOT NULL, service TEXT NOT NULL, instance TEXT NOT NULL, window_start_ms INTEGER NOT NULL,
    PRIMARY KEY (key, service, instance, window_start_ms)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_age ON usage_seen (window_start_ms);
CREATE TABLE IF NOT EXISTS leadership (
    id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, epoch INTEGER NOT NULL,
    beat INTEGER NOT NULL, longest_lease_ms INTEGER NOT NULL);
INSERT OR IGNORE INTO leadership VALUES (1, '', 0, 0, 0);
"""


class SqliteDatabase:
    """SqlDatabase: a file in WAL mode, so that a second process may read or take over."""

    def __init__(self, path: str) -> None:
        self.name = "ledger"
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - has no background work
        """See `open`."""
        await self.open()

    async def open(self) -> None:
        """See SqlDatabase."""
        if self._connection is not None:
            return
        try:
            self._connection = await asyncio.to_thread(_open, self._path)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"ledger {self._path} cannot be opened: {error}") from error

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - closing is quick
        """Close; a call in progress ends first."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await asyncio.to_thread(connection.close)

    async def run(self, work: Callable[[SqlConnection], T]) -> T:
        """See SqlDatabase."""
        async with self._lock:
            if self._connection is None:
                raise Unavailable(f"ledger {self._path} is closed")
            running = asyncio.ensure_future(asyncio.to_thread(_in_transaction, self._connection, work))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})  # the connection is free only when its thread is done
                raise
            except sqlite3.IntegrityError as error:
                raise Conflict(f"ledger {self._path}: {error}") from error
            except sqlite3.Error as error:
                raise Unavailable(f"ledger {self._path}: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SCHEMA)
    columns = {row["name"] for row in connection.execute("PRAGMA table_info(usage_minutes)")}
    if "num_instances" not in columns:  # a file of an earlier version
        connection.execute("ALTER TABLE usage_minutes ADD COLUMN num_instances INTEGER NOT NULL DEFAULT 1")
    return connection


def _in_transaction(connection: sqlite3.Connection, work: Callable[[SqlConnection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return result
