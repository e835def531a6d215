"""Leadership with an epoch, in SQLite."""

import sqlite3

from services.quota.outbound.sqlite_database import SqliteDatabase


class SqliteLeader:
    """LeaderLedger: one row that the holder keeps renewing."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def claim_leadership(self, holder: str, now_ms: int, duration_ms: int) -> int | None:
        """See LeaderLedger."""

        def work(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT * FROM leader").fetchone()
            is_held = row["expires_ms"] > now_ms
            if is_held and row["holder"] != holder:
                return None
            epoch = int(row["epoch"]) + (0 if is_held else 1)
            connection.execute(
                "UPDATE leader SET holder = ?, epoch = ?, expires_ms = ?", (holder, epoch, now_ms + duration_ms)
            )
            return epoch

        return await self._database.run(work)

    async def resign(self, holder: str) -> None:
        """See LeaderLedger."""
        await self._database.run(lambda c: c.execute("UPDATE leader SET expires_ms = 0 WHERE holder = ?", (holder,)))

    async def start_over(self, epoch: int, granted_until_ms: int) -> None:
        """For a rebuilt ledger: every later epoch is above `epoch`, and older leases may be valid until then."""
        query = "UPDATE leader SET epoch = max(epoch, ?), granted_until_ms = max(granted_until_ms, ?)"
        await self._database.run(lambda c: c.execute(query, (epoch, granted_until_ms)))

    async def granted_until_ms(self) -> int:
        """See LeaderLedger."""
        row = await self._database.run(lambda c: c.execute("SELECT granted_until_ms FROM leader").fetchone())
        return int(row["granted_until_ms"])

    async def set_granted_until_ms(self, epoch: int, time_ms: int) -> bool:
        """See LeaderLedger."""
        query = "UPDATE leader SET granted_until_ms = max(granted_until_ms, ?) WHERE epoch = ?"
        return await self._database.run(lambda c: c.execute(query, (time_ms, epoch)).rowcount) == 1
