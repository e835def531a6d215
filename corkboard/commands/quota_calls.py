"""What the quota commands share: who asks, calls to the quota service, the table of rules."""

import getpass
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import RenderableType

from corkboard.commands.output import Output, table
from corkboard.commands.quota_values import shown_limit
from corkboard.local.home import Home
from corkboard.session import Endpoints, run
from protos.quota.v1 import quota_pb2, quota_pb2_grpc

CALL_S = 60.0  # right-sizing reads weeks of usage

Why = Annotated[str, typer.Option(help="Reason, kept in the audit record.")]
Actor = Annotated[str, typer.Option(help="Who asks; your login name when left out.")]
Prefix = Annotated[str, typer.Argument(help="Only keys that begin so.")]

STUBS = {
    "quota": quota_pb2_grpc.QuotaServiceStub,
    "usage": quota_pb2_grpc.UsageServiceStub,
    "capacity": quota_pb2_grpc.CapacityServiceStub,
}


def call(stub: str, method: str, request: Any) -> Any:
    """One call to a service of the quota process."""
    endpoints = Endpoints.of_running(Home.from_environment())
    return run(endpoints, lambda session: session.call("quota", STUBS[stub], method, request, timeout_s=CALL_S))


def who(actor: str) -> str:
    """The actor given, or whoever is logged in."""
    return actor or getpass.getuser()


def as_json(message: Message) -> Any:
    """A message as JSON, with the names of the contract."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def show_rules(versions: Sequence[quota_pb2.RuleVersion], is_json: bool) -> None:
    """Rules as a table or as JSON."""
    Output(is_json).result([as_json(version) for version in versions], lambda: rules_table(versions))


def rules_table(versions: Sequence[quota_pb2.RuleVersion]) -> RenderableType:
    """One row per rule."""
    rows = [
        (
            item.rule.key,
            item.version,
            state_name(item),
            shown_limit(item.rule.limit, item.rule.unit, item.rule.period_s, item.rule.kind),
            f"{item.rule.burst:g}",
            item.rule.tier,
            item.rule.owner,
            marks(item.rule),
        )
        for item in versions
    ]
    return table("rules", ("key", "version", "state", "limit", "burst", "tier", "owner", ""), rows)


def state_name(version: quota_pb2.RuleVersion) -> str:
    """draft, validated, approved, published, superseded or revoked."""
    return quota_pb2.RuleState.Name(version.state).removeprefix("RULE_STATE_").lower()


def marks(rule: quota_pb2.Rule) -> str:
    """What is special about a rule."""
    found = ["shadow"] * rule.is_shadow + ["global"] * rule.is_global
    return ", ".join([*found, f"cut from {rule.full_limit:g}"] if rule.full_limit else found)
