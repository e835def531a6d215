"""Between the messages of the quota room and its domain."""

from protos.quota.v1 import quota_pb2 as pb
from protos.rules import rule_from_proto, rule_to_proto
from services.quota.app.rightsizing import Applied
from services.quota.domain.backtest import Outcome
from services.quota.domain.budget import WINDOW_DAYS, Budget
from services.quota.domain.lease_book import Lease
from services.quota.domain.rightsizing import Proposal
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion
from services.quota.domain.validation import Violation

STATES = {state: pb.RuleState.Value(f"RULE_STATE_{state.name}") for state in RuleState}


def version_to_proto(version: RuleVersion) -> pb.RuleVersion:
    """A version as it is now."""
    return pb.RuleVersion(
        rule=rule_to_proto(version.rule),
        version=version.version,
        state=STATES[version.state],
        changed_time_ms=version.changed_time_ms,
        changed_by=version.changed_by,
        why=version.why,
    )


def response(version: RuleVersion) -> pb.RuleResponse:
    """The answer of most steps."""
    return pb.RuleResponse(rule_version=version_to_proto(version))


def violation_to_proto(violation: Violation) -> pb.Violation:
    """One fault of a rule."""
    return pb.Violation(field=violation.field, message=violation.message)


def record_to_proto(record: AuditRecord) -> pb.AuditRecord:
    """One step of the history."""
    return pb.AuditRecord(
        time_ms=record.step.time_ms,
        actor=record.step.actor,
        action=record.step.action,
        why=record.step.why,
        before=version_to_proto(record.before) if record.before else None,
        after=version_to_proto(record.after),
    )


def lease_to_proto(lease: Lease, now_ms: int, duration_ms: int) -> pb.Lease:
    """What the holder learns of its lease, granted at `now_ms` (epoch milliseconds)."""
    return pb.Lease(
        lease_id=lease.lease_id,
        key=lease.key,
        rate=lease.rate,
        burst=lease.burst,
        expires_time_ms=now_ms + duration_ms,
        epoch=lease.epoch,
        duration_ms=duration_ms,
    )


def proposal_to_proto(proposal: Proposal) -> pb.RightsizingProposal:
    """One suggestion and the figures behind it."""
    return pb.RightsizingProposal(
        current=rule_to_proto(proposal.current),
        proposed=rule_to_proto(proposal.proposed),
        why=proposal.why,
        current_version=proposal.current.version,
    )


def proposal_from_proto(message: pb.RightsizingProposal) -> tuple[Proposal, int]:
    """A suggestion as it was sent, and the version of its current rule. Not checked."""
    current = rule_from_proto(message.current, message.current_version)
    proposed = rule_from_proto(message.proposed, message.current_version)
    return Proposal(current, proposed, message.why), message.current_version


def applied_to_proto(applied: Applied) -> pb.AppliedProposal:
    """How far a proposal came."""
    return pb.AppliedProposal(
        key=applied.key,
        rule_version=version_to_proto(applied.version) if applied.version else None,
        violations=[violation_to_proto(violation) for violation in applied.violations],
        error=applied.error,
    )


def outcome_to_proto(outcome: Outcome) -> pb.BacktestRow:
    """Sums as shares."""
    return pb.BacktestRow(
        key=outcome.key,
        unit=outcome.unit,
        num_runs=outcome.num_runs,
        asked=outcome.asked,
        refused_ratio_before=_ratio(outcome.refused_before, outcome.asked),
        refused_ratio_after=_ratio(outcome.refused_after, outcome.asked),
        unused_ratio_before=_ratio(outcome.unused_before, outcome.allowed_before),
        unused_ratio_after=_ratio(outcome.unused_after, outcome.allowed_after),
        saved=outcome.saved,
    )


def budget_from_proto(message: pb.Budget) -> Budget:
    """A budget as it was sent. Not checked."""
    return Budget(message.owner, message.amount, message.window_days or WINDOW_DAYS, dict(message.price))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
