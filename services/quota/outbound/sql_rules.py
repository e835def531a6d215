"""Rules, their audit records and the outbox."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from chassis.errors import Conflict
from chassis.protection.rule import Rule
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.outbound.sql_database import LAST, SqlConnection, SqlDatabase

NEWEST = "SELECT body FROM versions WHERE key = ? ORDER BY version DESC LIMIT 1"
ALL_NEWEST = (
    "SELECT body FROM versions v WHERE key >= ? AND key <= ? "
    "AND version = (SELECT max(version) FROM versions w WHERE w.key = v.key) ORDER BY key"
)
ALL_PUBLISHED = "SELECT body FROM versions WHERE key >= ? AND key <= ? AND state = 'published' ORDER BY key"


class SqlRules:
    """RuleLedger and RuleOutbox on one database."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def read(self, key: str, version: int = 0) -> RuleVersion | None:
        """See RuleLedger."""
        if version:
            return await self._one("SELECT body FROM versions WHERE key = ? AND version = ?", key, version)
        return await self._one(NEWEST, key)

    async def published(self, key: str) -> RuleVersion | None:
        """See RuleLedger."""
        return await self._one("SELECT body FROM versions WHERE key = ? AND state = 'published'", key)

    async def list_rules(self, key_prefix: str, *, is_published_only: bool) -> Sequence[RuleVersion]:
        """See RuleLedger."""
        query = ALL_PUBLISHED if is_published_only else ALL_NEWEST
        rows = await self._database.run(lambda c: c.execute(query, (key_prefix, key_prefix + LAST)).fetchall())
        return [_from_body(row["body"]) for row in rows]

    async def history(self, key: str) -> Sequence[AuditRecord]:
        """See RuleLedger."""
        query = "SELECT * FROM audit WHERE key = ? ORDER BY id"
        rows = await self._database.run(lambda c: c.execute(query, (key,)).fetchall())
        return [
            AuditRecord(
                Step(row["action"], row["actor"], row["why"], row["time_ms"]),
                _from_body(row["before_body"]) if row["before_body"] else None,
                _from_body(row["after_body"]),
            )
            for row in rows
        ]

    async def write(
        self,
        records: Sequence[AuditRecord],
        *,
        is_dispatched: bool = False,
        beside: Sequence[RuleVersion] | None = None,
    ) -> None:
        """See RuleLedger."""

        def work(connection: SqlConnection) -> None:
            if beside is not None:
                _check_beside(connection, beside)
            for record in records:
                _write(connection, record)
            if is_dispatched:
                _enqueue(connection, {record.after.key for record in records})

        await self._database.run(work)

    async def unsent(self) -> Sequence[tuple[int, str]]:
        """See RuleOutbox."""
        query = "SELECT ticket, key FROM outbox ORDER BY ticket"
        rows = await self._database.run(lambda c: c.execute(query).fetchall())
        return [(row["ticket"], row["key"]) for row in rows]

    async def mark_sent(self, ticket: int, key: str) -> None:
        """See RuleOutbox."""
        query = "DELETE FROM outbox WHERE key = ? AND ticket <= ?"
        await self._database.run(lambda c: c.execute(query, (key, ticket)))

    async def _one(self, query: str, *values: str | int) -> RuleVersion | None:
        row = await self._database.run(lambda c: c.execute(query, values).fetchone())
        return _from_body(row["body"]) if row else None


def _write(connection: SqlConnection, record: AuditRecord) -> None:
    before, after, step = record.before, record.after, record.step
    newest_row = connection.execute(NEWEST, (after.key,)).fetchone()
    newest = _from_body(newest_row["body"]) if newest_row else None
    if before is None:
        is_current = after.version == (newest.version if newest else 0) + 1 or step.action == "rebuild"
    else:
        found = connection.execute(
            "SELECT body FROM versions WHERE key = ? AND version = ?", (before.key, before.version)
        ).fetchone()
        is_current = found is not None and _from_body(found["body"]) == before
    if not is_current:
        current = f"version {newest.version}, {newest.state}" if newest else "nothing"
        raise Conflict(f"rule {after.key!r} was changed by somebody else; now: {current}", field="version")
    connection.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?) "
        "ON CONFLICT (key, version) DO UPDATE SET state = excluded.state, body = excluded.body",
        (after.key, after.version, after.state, _body(after)),
    )
    connection.execute(
        "INSERT INTO audit (key, time_ms, actor, action, why, before_body, after_body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (after.key, step.time_ms, step.actor, step.action, step.why, before and _body(before), _body(after)),
    )


def _check_beside(connection: SqlConnection, beside: Sequence[RuleVersion]) -> None:
    rows = connection.execute("SELECT key, version FROM versions WHERE state = 'published'").fetchall()
    now = {(row["key"], row["version"]) for row in rows}
    if changed := now ^ {(version.key, version.version) for version in beside}:
        keys = ", ".join(sorted({key for key, _ in changed})[:3])
        raise Conflict(f"meanwhile somebody changed what is in force ({keys}): try again", reason="rules_changed")


def _enqueue(connection: SqlConnection, keys: set[str]) -> None:
    ticket = connection.execute("SELECT max(id) AS last FROM audit").fetchone()["last"]
    for key in sorted(keys):
        connection.execute(
            "INSERT INTO outbox VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET ticket = excluded.ticket", (key, ticket)
        )


def _body(version: RuleVersion) -> str:
    return json.dumps(asdict(version), sort_keys=True)


def _from_body(body: str) -> RuleVersion:
    fields = json.loads(body)
    return RuleVersion(**(fields | {"rule": Rule(**fields["rule"]), "state": RuleState(fields["state"])}))
