"""The life of a rule, one use case per step; every step leaves an audit record."""

from collections.abc import Sequence
from dataclasses import replace

from chassis.clock import Clock
from chassis.errors import Conflict, Invalid, NotFound, PermissionDenied
from chassis.protection.rule import MAX_KEY_CHARS, Rule
from services.quota.app.checks import Checks
from services.quota.app.dispatcher import Dispatcher
from services.quota.domain.authority import Authority, revoke_reason, second_person_reason
from services.quota.domain.rule_version import ASK_REVOKE, AuditRecord, RuleState, RuleVersion, Step
from services.quota.domain.validation import Violation
from services.quota.ports import RuleLedger

MAX_WHY_CHARS = 2_000
ASKED_MS = 3_600_000  # how long a first person's wish to revoke waits for a second one
TRIES = 3  # publishing waits for checks; somebody else may publish meanwhile


class RuleLifecycle:
    """Any number of processes may take steps: the ledger refuses what another one changed meanwhile."""

    def __init__(
        self, ledger: RuleLedger, checks: Checks, dispatcher: Dispatcher, authority: Authority, clock: Clock
    ) -> None:
        self._ledger, self._checks, self._dispatcher = ledger, checks, dispatcher
        self._authority, self._clock = authority, clock

    async def create(self, rule: Rule, expected_version: int, actor: str, why: str) -> RuleVersion:
        """A draft of the next version of its key. A new rule without an owner is owned by its author.

        Raises: Conflict when the newest version is not `expected_version`; Invalid; PermissionDenied.
        """
        _check_texts(rule)
        step = self._step("create", actor, why)
        newest = await self._ledger.read(rule.key)
        current = newest.version if newest else 0
        owner = rule.owner if newest else rule.owner or actor
        self._authority.check(actor, newest.rule.owner if newest else owner)
        if current != expected_version:
            state = f", {newest.state}" if newest else ""
            raise Conflict(
                f"rule {rule.key!r} is at version {current}{state}; you saw {expected_version}",
                field="expected_version",
                reason="version_conflict",
            )
        numbered = replace(rule, version=current + 1, owner=owner)
        draft = RuleVersion(numbered, RuleState.DRAFT, step.time_ms, actor, step.why, created_by=actor)
        await self._ledger.write([AuditRecord(step, None, draft)])
        return draft

    async def validate(self, key: str, version: int, actor: str, why: str) -> tuple[RuleVersion, Sequence[Violation]]:
        """Asks every check; a draft without violations becomes validated.

        Raises: Unavailable when one of them cannot be asked; the rule stays as it is.
        """
        found = await self._changeable(key, version, actor)
        faults = await self._checks.violations(found.rule, await self._in_force())
        if faults or found.state is not RuleState.DRAFT:
            return found, faults
        return await self._move(found, RuleState.VALIDATED, self._step("validate", actor, why)), []

    async def approve(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Validated -> approved. Raises: PermissionDenied when the author approves what needs a second person."""
        found = await self._changeable(key, version, actor)
        if found.state is RuleState.APPROVED:
            return found
        published = await self._ledger.published(key)
        reason = second_person_reason(found.rule, published.rule if published else None)
        if reason and actor == found.created_by:
            raise _second_person_needed(found, reason)
        return await self._move(found, RuleState.APPROVED, self._step("approve", actor, why))

    async def publish(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Approved -> published, the one before superseded, and sent to every process. Again: sent again if unsent.

        Raises: Unavailable when the topic does not take it now (it is in the ledger and will be sent).
        """
        found = await self._changeable(key, version, actor)
        if found.state is not RuleState.PUBLISHED:
            found = await self._publish(found, self._step("publish", actor, why))
        await self._dispatcher.flush_within(key)
        return found

    async def revoke(self, key: str, version: int, actor: str, why: str) -> RuleVersion:
        """Any living state -> revoked; a published one is taken out of force everywhere. Again: no change.

        Raises: PermissionDenied for the first of two persons that a tier 1 rule in force needs; the wish is recorded.
        """
        found = await self._changeable(key, version, actor)
        if found.state is RuleState.REVOKED:
            return found
        was_published = found.state is RuleState.PUBLISHED
        if was_published and not self._authority.is_admin(actor):
            await self._check_second_revoker(found, actor, why)
        found = await self._move(
            found, RuleState.REVOKED, self._step("revoke", actor, why), is_dispatched=was_published
        )
        await self._dispatcher.flush_within(key)
        return found

    async def _publish(self, found: RuleVersion, step: Step) -> RuleVersion:
        after = found.moved(RuleState.PUBLISHED, step)
        for attempt in range(1, TRIES + 1):
            in_force = await self._ledger.list_rules("", is_published_only=True)
            if faults := await self._checks.violations(found.rule, [other.rule for other in in_force]):
                raise Invalid(f"rule {found.key!r} is no longer valid: {faults[0].message}", field=faults[0].field)
            records = [AuditRecord(step, found, after)]
            published = next((other for other in in_force if other.key == found.key), None)
            if published is not None:
                records.insert(0, AuditRecord(step, published, _superseded(published, found, step)))
            try:
                await self._ledger.write(records, is_dispatched=True, beside=in_force)
            except Conflict as error:
                if error.reason != "rules_changed" or attempt == TRIES:
                    raise
            else:
                return after
        raise AssertionError("the last try returns or raises")

    async def _check_second_revoker(self, found: RuleVersion, actor: str, why: str) -> None:
        reason = revoke_reason(found.rule)
        if not reason:
            return
        step = self._step(ASK_REVOKE, actor, why)
        records = await self._ledger.history(found.key)
        steps = [record.step for record in records if record.after.version == found.version]
        asked = [each.actor for each in steps if each.action == ASK_REVOKE and each.time_ms > step.time_ms - ASKED_MS]
        if any(person != actor for person in asked):
            return
        await self._ledger.write([AuditRecord(step, found, found)])
        raise _second_person_needed(found, f"{reason}; your wish is recorded for an hour")

    async def _move(
        self, found: RuleVersion, state: RuleState, step: Step, *, is_dispatched: bool = False
    ) -> RuleVersion:
        after = found.moved(state, step)
        await self._ledger.write([AuditRecord(step, found, after)], is_dispatched=is_dispatched)
        return after

    async def _in_force(self) -> list[Rule]:
        return [version.rule for version in await self._ledger.list_rules("", is_published_only=True)]

    async def _changeable(self, key: str, version: int, actor: str) -> RuleVersion:
        found = await self._ledger.read(key, version)
        if found is None:
            raise NotFound(f"no rule {key!r} version {version or 'newest'}", field="key")
        self._authority.check(actor, found.rule.owner or found.created_by)
        return found

    def _step(self, action: str, actor: str, why: str) -> Step:
        check_text("why", why, MAX_WHY_CHARS)
        check_text("actor", actor, MAX_KEY_CHARS)
        return Step(action, actor, why, self._clock.now_ms())


def check_text(field: str, text: str, max_chars: int) -> None:
    """Raises: Invalid for one that is too long, or has control characters, which ledgers and terminals do not like."""
    if len(text) > max_chars:
        raise Invalid(f"{field} has {len(text)} characters, at most {max_chars} are taken", field=field)
    if any((char < " " and char not in "\n\t") or char == "\x7f" for char in text):
        raise Invalid(f"{field} has control characters", field=field)


def _check_texts(rule: Rule) -> None:
    if not rule.key:
        raise Invalid("the key is missing", field="rule.key")
    for field in ("key", "owner", "unit", "kind"):
        check_text(f"rule.{field}", getattr(rule, field), MAX_KEY_CHARS)


def _superseded(published: RuleVersion, by: RuleVersion, step: Step) -> RuleVersion:
    if published.version > by.version:
        raise Conflict(f"rule {by.key!r}: newer version {published.version} is published", field="version")
    return published.moved(RuleState.SUPERSEDED, step)


def _second_person_needed(found: RuleVersion, reason: str) -> PermissionDenied:
    return PermissionDenied(
        f"rule {found.key!r} version {found.version} needs a second person: {reason}",
        field="actor",
        reason="second_person_needed",
    )
