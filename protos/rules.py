"""Rules between their protobuf and what the chassis decides with."""

from google.protobuf.message import DecodeError

from chassis.errors import Corrupt, Invalid
from chassis.protection.rule import LOWEST_TIER, RATE, Rule
from chassis.protection.usage import UsageWindow
from protos.quota.v1 import quota_pb2 as pb


def rule_from_proto(message: pb.Rule, version: int = 0) -> Rule:
    """A rule as it was sent; an unset tier is the lowest, an unset safe share is the whole limit. Not checked."""
    return Rule(
        key=message.key,
        limit=message.limit,
        period_s=message.period_s,
        burst=message.burst,
        unit=message.unit,
        is_shadow=message.is_shadow,
        version=version,
        safe_share=message.safe_share or 1.0,
        owner=message.owner,
        tier=message.tier or LOWEST_TIER,
        guaranteed=message.guaranteed,
        is_global=message.is_global,
        kind=message.kind or RATE,
        full_limit=message.full_limit,
    )


def rule_to_proto(rule: Rule) -> pb.Rule:
    """The message of `rule`; its version travels beside it."""
    return pb.Rule(
        key=rule.key,
        limit=rule.limit,
        period_s=rule.period_s,
        burst=rule.burst,
        unit=rule.unit,
        owner=rule.owner,
        tier=rule.tier,
        is_shadow=rule.is_shadow,
        guaranteed=rule.guaranteed,
        safe_share=rule.safe_share,
        is_global=rule.is_global,
        kind=rule.kind,
        full_limit=rule.full_limit,
    )


def parse_rule_version(value: bytes) -> pb.RuleVersion:
    """Raises: Corrupt when the bytes are no RuleVersion."""
    try:
        return pb.RuleVersion.FromString(value)
    except DecodeError as error:
        raise Corrupt(f"{len(value)} bytes are no RuleVersion: {error}") from error


def decode_rule(value: bytes) -> Rule:
    """The rule to enforce, from a value of topic quota.rules.

    Raises: Corrupt when the bytes are no RuleVersion, Invalid when it is not a published one.
    """
    message = parse_rule_version(value)
    if message.state != pb.RULE_STATE_PUBLISHED:
        state = pb.RuleState.Name(message.state) if message.state in pb.RuleState.values() else str(message.state)
        raise Invalid(f"rule {message.rule.key!r} version {message.version} is {state}, not published", field="state")
    return rule_from_proto(message.rule, message.version)


def encode_rule(rule: Rule, *, changed_time_ms: int = 0, changed_by: str = "", why: str = "") -> bytes:
    """A published version of `rule`, as topic quota.rules holds it; `rule.version` must be set."""
    return pb.RuleVersion(
        rule=rule_to_proto(rule),
        version=rule.version,
        state=pb.RULE_STATE_PUBLISHED,
        changed_time_ms=changed_time_ms,
        changed_by=changed_by,
        why=why,
    ).SerializeToString(deterministic=True)


def usage_to_proto(window: UsageWindow) -> pb.UsageWindow:
    """The message of `window`."""
    return pb.UsageWindow(
        key=window.key,
        service=window.service,
        instance=window.instance,
        zone=window.zone,
        window_start_ms=window.window_start_ms,
        window_ms=window.window_ms,
        admitted=window.admitted,
        refused=window.refused,
        shadow_refused=window.shadow_refused,
        rule_version=window.rule_version,
        num_instances=window.num_instances,
    )


def encode_usage(window: UsageWindow) -> bytes:
    """A value of topic quota.usage."""
    return usage_to_proto(window).SerializeToString(deterministic=True)


def decode_usage(value: bytes) -> UsageWindow:
    """Raises: Corrupt when the bytes are no UsageWindow."""
    try:
        message = pb.UsageWindow.FromString(value)
    except DecodeError as error:
        raise Corrupt(f"{len(value)} bytes are no UsageWindow: {error}") from error
    return UsageWindow(
        key=message.key,
        window_start_ms=message.window_start_ms,
        window_ms=message.window_ms,
        admitted=message.admitted,
        refused=message.refused,
        shadow_refused=message.shadow_refused,
        rule_version=message.rule_version,
        service=message.service,
        instance=message.instance,
        zone=message.zone,
        num_instances=message.num_instances or 1,
    )
