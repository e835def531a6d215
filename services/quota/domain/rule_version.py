"""A rule in its life: which state each version is in and who brought it there."""

from dataclasses import dataclass, replace
from enum import StrEnum

from chassis.errors import Invalid
from chassis.protection.rule import Rule


class RuleState(StrEnum):
    """draft -> validated -> approved -> published -> superseded | revoked."""

    DRAFT = "draft"
    VALIDATED = "validated"
    APPROVED = "approved"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


ASK_REVOKE = "ask-revoke"  # a step that changes nothing: the first of two persons

NEXT_STATES: dict[RuleState, frozenset[RuleState]] = {
    RuleState.DRAFT: frozenset({RuleState.VALIDATED, RuleState.REVOKED}),
    RuleState.VALIDATED: frozenset({RuleState.APPROVED, RuleState.REVOKED}),
    RuleState.APPROVED: frozenset({RuleState.PUBLISHED, RuleState.REVOKED}),
    RuleState.PUBLISHED: frozenset({RuleState.SUPERSEDED, RuleState.REVOKED}),
    RuleState.SUPERSEDED: frozenset(),
    RuleState.REVOKED: frozenset(),
}


@dataclass(frozen=True)
class RuleVersion:
    """One version of one key; `rule.version` is its number, 1.. per key. `changed_*` tell of its last step."""

    rule: Rule
    state: RuleState
    changed_time_ms: int
    changed_by: str
    why: str
    created_by: str

    @property
    def key(self) -> str:
        """Rule key."""
        return self.rule.key

    @property
    def version(self) -> int:
        """Number of this version."""
        return self.rule.version

    def moved(self, state: RuleState, step: "Step") -> "RuleVersion":
        """This version after `step`.

        Raises: Invalid when its life does not go that way.
        """
        if state not in NEXT_STATES[self.state]:
            needed = " or ".join(sorted(before for before, after in NEXT_STATES.items() if state in after))
            raise Invalid(
                f"rule {self.key!r} version {self.version} is {self.state}; to be {state} it must be {needed}",
                field="state",
                reason="wrong_state",
            )
        return replace(self, state=state, changed_time_ms=step.time_ms, changed_by=step.actor, why=step.why)


@dataclass(frozen=True)
class Step:
    """Who does what, when and why. `action` is create, validate, approve, publish, ask-revoke, revoke or rebuild."""

    action: str
    actor: str
    why: str
    time_ms: int


@dataclass(frozen=True)
class AuditRecord:
    """One step of one version; `before` is None for a new one."""

    step: Step
    before: RuleVersion | None
    after: RuleVersion
