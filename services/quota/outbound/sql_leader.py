"""Leadership with an epoch."""

from dataclasses import replace

from services.quota.domain.leadership import LeaderRow, claimed
from services.quota.outbound.sql_database import SqlConnection, SqlDatabase


class SqlLeader:
    """LeaderLedger: one row that the holder keeps beating."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def claim(self, holder: str, dead: LeaderRow | None) -> LeaderRow:
        """See LeaderLedger."""

        def work(connection: SqlConnection) -> LeaderRow:
            row = claimed(_read(connection), holder, dead)
            _write(connection, row)
            return row

        return await self._database.run(work)

    async def resign(self, holder: str) -> None:
        """See LeaderLedger."""
        await self._database.run(lambda c: c.execute("UPDATE leadership SET holder = '' WHERE holder = ?", (holder,)))

    async def start_over(self, epoch: int, longest_lease_ms: int) -> None:
        """For a rebuilt ledger: every later epoch is above `epoch`, and older leases may last that long."""

        def work(connection: SqlConnection) -> None:
            row = _read(connection)
            later = replace(row, epoch=max(row.epoch, epoch), longest_lease_ms=_longer(row, longest_lease_ms))
            _write(connection, later)

        await self._database.run(work)

    async def cover_leases(self, epoch: int, duration_ms: int) -> bool:
        """See LeaderLedger."""

        def work(connection: SqlConnection) -> bool:
            row = _read(connection)
            if row.epoch != epoch or not row.holder:
                return False
            _write(connection, replace(row, longest_lease_ms=_longer(row, duration_ms)))
            return True

        return await self._database.run(work)


def _read(connection: SqlConnection) -> LeaderRow:
    row = connection.execute("SELECT holder, epoch, beat, longest_lease_ms FROM leadership").fetchone()
    return LeaderRow(row["holder"], row["epoch"], row["beat"], row["longest_lease_ms"])


def _write(connection: SqlConnection, row: LeaderRow) -> None:
    statement = "UPDATE leadership SET holder = ?, epoch = ?, beat = ?, longest_lease_ms = ?"
    connection.execute(statement, (row.holder, row.epoch, row.beat, row.longest_lease_ms))


def _longer(row: LeaderRow, duration_ms: int) -> int:
    return max(row.longest_lease_ms, duration_ms)
