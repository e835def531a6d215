"""Usage per minute."""

from collections.abc import Sequence

from chassis.protection.usage import UsageWindow
from services.quota.outbound.sql_database import LAST, SqlConnection, SqlDatabase

MINUTE_MS = 60_000
SEEN_MS = 8 * 86_400_000  # a day longer than the topic keeps a window, so a replay of it adds nothing


class SqlUsage:
    """UsageLedger: a window is added to the minute it starts in, once."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def add_usage(self, windows: Sequence[UsageWindow]) -> None:
        """See UsageLedger."""

        def work(connection: SqlConnection) -> None:
            for window in windows:
                _add(connection, window)

        await self._database.run(work)

    async def query_usage(self, key_prefix: str, from_ms: int, to_ms: int) -> Sequence[UsageWindow]:
        """See UsageLedger."""
        query = (
            "SELECT * FROM usage_minutes WHERE key >= ? AND key <= ? AND minute_ms > ? AND minute_ms < ? "
            "ORDER BY key, minute_ms, service, zone"
        )
        values = (key_prefix, key_prefix + LAST, from_ms - MINUTE_MS, to_ms)
        rows = await self._database.run(lambda c: c.execute(query, values).fetchall())
        return [
            UsageWindow(
                row["key"],
                row["minute_ms"],
                MINUTE_MS,
                row["admitted"],
                row["refused"],
                row["shadow_refused"],
                row["rule_version"],
                row["service"],
                "",
                row["zone"],
                row["num_instances"],
            )
            for row in rows
        ]

    async def oldest_ms(self) -> int | None:
        """See UsageLedger."""
        query = "SELECT min(minute_ms) AS oldest FROM usage_minutes"
        row = await self._database.run(lambda c: c.execute(query).fetchone())
        oldest: int | None = row["oldest"]
        return oldest

    async def prune_usage(self, before_ms: int, max_rows: int) -> int:
        """See UsageLedger."""

        def work(connection: SqlConnection) -> int:
            aged = connection.execute("DELETE FROM usage_minutes WHERE minute_ms < ?", (before_ms,)).rowcount
            num_rows = connection.execute("SELECT count(*) AS n FROM usage_minutes").fetchone()["n"]
            if num_rows > max_rows:
                aged += connection.execute(
                    "DELETE FROM usage_minutes WHERE (key, minute_ms, service, zone) IN (SELECT key, minute_ms, "
                    "service, zone FROM usage_minutes ORDER BY minute_ms LIMIT ?)",
                    (num_rows - max_rows,),
                ).rowcount
            newest = connection.execute("SELECT max(window_start_ms) AS n FROM usage_seen").fetchone()["n"] or 0
            connection.execute("DELETE FROM usage_seen WHERE window_start_ms < ?", (newest - SEEN_MS,))
            return aged

        return await self._database.run(work)


def _add(connection: SqlConnection, window: UsageWindow) -> None:
    source = (window.key, window.service, window.instance)
    minute_ms = window.window_start_ms // MINUTE_MS * MINUTE_MS
    of_minute = "SELECT 1 FROM usage_seen WHERE key = ? AND service = ? AND instance = ? AND window_start_ms >= ? "
    earlier = connection.execute(f"{of_minute} AND window_start_ms < ?", (*source, minute_ms, minute_ms + MINUTE_MS))
    is_new_instance = earlier.fetchone() is None
    is_new = connection.execute(
        "INSERT INTO usage_seen VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*source, window.window_start_ms)
    ).rowcount
    if not is_new:
        return
    connection.execute(
        "INSERT INTO usage_minutes AS held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (key, minute_ms, service, zone) "
        "DO UPDATE SET admitted = held.admitted + excluded.admitted, refused = held.refused + excluded.refused, "
        "shadow_refused = held.shadow_refused + excluded.shadow_refused, rule_version = CASE "
        "WHEN excluded.rule_version > held.rule_version THEN excluded.rule_version ELSE held.rule_version END, "
        "num_instances = held.num_instances + excluded.num_instances",
        (
            window.key,
            minute_ms,
            window.service,
            window.zone,
            window.admitted,
            window.refused,
            window.shadow_refused,
            window.rule_version,
            int(is_new_instance),
        ),
    )
