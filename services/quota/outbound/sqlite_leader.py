"""Leadership with an epoch, in SQLite."""

import sqlite3

from services.quota.domain.leadership import LeaderRow, claimed
from services.quota.outbound.sqlite_database import SqliteDatabase


class SqliteLeader:
    """LeaderLedger: one row that the holder keeps beating."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def claim(self, holder: str, dead: LeaderRow | None) -> LeaderRow:
        """See LeaderLedger."""

        def work(connection: sqlite3.Connection) -> LeaderRow:
            row = claimed(_read(connection), holder, dead)
            query = "UPDATE leadership SET holder = ?, epoch = ?, beat = ?"
            connection.execute(query, (row.holder, row.epoch, row.beat))
            return row

        return await self._database.run(work)

    async def resign(self, holder: str) -> None:
        """See LeaderLedger."""
        await self._database.run(lambda c: c.execute("UPDATE leadership SET holder = '' WHERE holder = ?", (holder,)))

    async def start_over(self, epoch: int, longest_lease_ms: int) -> None:
        """For a rebuilt ledger: every later epoch is above `epoch`, and older leases may last that long."""
        query = "UPDATE leadership SET epoch = max(epoch, ?), longest_lease_ms = max(longest_lease_ms, ?)"
        await self._database.run(lambda c: c.execute(query, (epoch, longest_lease_ms)))

    async def cover_leases(self, epoch: int, duration_ms: int) -> bool:
        """See LeaderLedger."""
        query = "UPDATE leadership SET longest_lease_ms = max(longest_lease_ms, ?) WHERE epoch = ? AND holder != ''"
        return await self._database.run(lambda c: c.execute(query, (duration_ms, epoch)).rowcount) == 1


def _read(connection: sqlite3.Connection) -> LeaderRow:
    row = connection.execute("SELECT holder, epoch, beat, longest_lease_ms FROM leadership").fetchone()
    return LeaderRow(row["holder"], row["epoch"], row["beat"], row["longest_lease_ms"])
