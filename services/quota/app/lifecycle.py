"""The life of a rule, one use case per step; every step leaves an audit record."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from chassis.clock import Clock
from chassis.errors import Conflict, Invalid, NotFound, PermissionDenied
from chassis.protection.rule import Rule
from services.quota.app.dispatcher import Dispatcher
from services.quota.domain.authority import Authority, second_person_reason
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.domain.validation import Violation, validate
from services.quota.ports import RuleLedger

MAX_WHY_CHARS = 2_000


class RuleLifecycle:
    """Steps are taken one at a time in this process; the ledger refuses what another process changed meanwhile."""

    def __init__(self, ledger: RuleLedger, dispatcher: Dispatcher, authority: Authority, clock: Clock) -> None:
        self._ledger, self._dispatcher, self._authority, self._clock = ledger, dispatcher, authority, clock
        self._lock = asyncio.Lock()

    async def create(self, rule: Rule, expected_version: int, actor: str, why: str) -> RuleVersion:
        """A draft of the next version of its key.

        Raises: Conflict when the newest version is not `expected_version`; Invalid; PermissionDenied.
        """
        async with self._lock:
            newest = await self._ledger.read(rule.key)
            current = newest.version if newest else 0
            self._authority.check(actor, newest.rule.owner if newest else rule.owner or actor)
            if current != expected_version:
                state = f", {newest.state}" if newest else ""
                raise Conflict(
                    f"rule {rule.key!r} is at version {current}{state}; you saw {expected_version}",
                    field="expected_version",
                    reason="version_conflict",
                )
            if not rule.key:
                raise Invalid("the key is missing", field="rule.key")
            step = self._step("create", actor, why)
            numbered = replace(rule, version=current + 1)
            draft = RuleVersion(numbered, RuleState.DRAFT, step.time_ms, actor, step.why, created_by=actor)
            await self._ledger.write([AuditRecord(step, None, draft)])
            return draft

    async def validate(self, key: str, version: int, actor: str, why: str) -> tuple[RuleVersion, Sequence[Violation]]:
        """Checks the rule among the published ones; a draft without violations becomes validated."""
        async with self._lock:
            found = await self._changeable(key, version, actor)
            faults = await self._violations(found.rule)
            if faults or found.state not in (RuleState.DRAFT,):
                return found, faults
            return await self._move(found, RuleState.VALIDATED, self._step("validate", actor, why)), []

    async def approve(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Validated -> approved. Raises: PermissionDenied when the author approves what needs a second person."""
        async with self._lock:
            found = await self._changeable(key, version, actor)
            if found.state is RuleState.APPROVED:
                return found
            published = await self._ledger.published(key)
            reason = second_person_reason(found.rule, published.rule if published else None)
            if reason and actor == found.created_by:
                raise PermissionDenied(
                    f"rule {key!r} version {found.version} needs a second person: {reason}",
                    field="actor",
                    reason="second_person_needed",
                )
            return await self._move(found, RuleState.APPROVED, self._step("approve", actor, why))

    async def publish(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Approved -> published, the one before superseded, and sent to every process. Again: sent again if unsent.

        Raises: Unavailable when the topic does not take it now (it is in the ledger and will be sent).
        """
        async with self._lock:
            found = await self._changeable(key, version, actor)
            if found.state is not RuleState.PUBLISHED:
                found = await self._publish(found, self._step("publish", actor, why))
        await self._dispatcher.flush_within()
        return found

    async def revoke(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Any living state -> revoked; a published one is taken out of force everywhere. Again: no change."""
        async with self._lock:
            found = await self._changeable(key, version, actor)
            was_published = found.state is RuleState.PUBLISHED
            if found.state is not RuleState.REVOKED:
                step = self._step("revoke", actor, why)
                found = await self._move(found, RuleState.REVOKED, step, is_dispatched=was_published)
        await self._dispatcher.flush_within()
        return found

    async def _publish(self, found: RuleVersion, step: Step) -> RuleVersion:
        after = found.moved(RuleState.PUBLISHED, step)
        if faults := await self._violations(found.rule):
            raise Invalid(f"rule {found.key!r} is no longer valid: {faults[0].message}", field=faults[0].field)
        records = [AuditRecord(step, found, after)]
        published = await self._ledger.published(found.key)
        if published is not None:
            if published.version > found.version:
                raise Conflict(f"rule {found.key!r}: newer version {published.version} is published", field="version")
            records.insert(0, AuditRecord(step, published, published.moved(RuleState.SUPERSEDED, step)))
        await self._ledger.write(records, is_dispatched=True)
        return after

    async def _move(
        self, found: RuleVersion, state: RuleState, step: Step, *, is_dispatched: bool = False
    ) -> RuleVersion:
        after = found.moved(state, step)
        await self._ledger.write([AuditRecord(step, found, after)], is_dispatched=is_dispatched)
        return after

    async def _violations(self, rule: Rule) -> Sequence[Violation]:
        published = await self._ledger.list_rules("", is_published_only=True)
        return validate(rule, [other.rule for other in published])

    async def _changeable(self, key: str, version: int, actor: str) -> RuleVersion:
        found = await self._ledger.read(key, version)
        if found is None:
            raise NotFound(f"no rule {key!r} version {version or 'newest'}", field="key")
        self._authority.check(actor, found.rule.owner or found.created_by)
        return found

    def _step(self, action: str, actor: str, why: str) -> Step:
        if len(why) > MAX_WHY_CHARS:
            raise Invalid(f"a reason has at most {MAX_WHY_CHARS} characters, this one {len(why)}", field="why")
        return Step(action, actor, why, self._clock.now_ms())
