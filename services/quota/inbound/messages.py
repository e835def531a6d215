"""Between the messages of the quota room and its domain."""

from protos.quota.v1 import quota_pb2 as pb
from protos.rules import rule_to_proto
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
        current=rule_to_proto(proposal.current), proposed=rule_to_proto(proposal.proposed), why=proposal.why
    )
