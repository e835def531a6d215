"""What the quota commands share: who asks, calls to the quota service, the table of rules."""

import getpass
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import RenderableType

from chassis.errors import NotFound
from corkboard.commands.output import Output, table
from corkboard.commands.quota_values import shown_limit
from corkboard.local.home import Home
from corkboard.session import Endpoints, run
from protos.quota.v1 import quota_pb2, quota_pb2_grpc

CALL_S = 60.0  # right-sizing reads weeks of usage
TOKEN_VARIABLE = "CORKBOARD_TOKEN_PATH"  # noqa: S105  # names a file

Why = Annotated[str, typer.Option(help="Reason, kept in the audit record.")]
Actor = Annotated[
    str,
    typer.Option(
        help="Who asks; left out, whom the token in the file CORKBOARD_TOKEN_PATH is of, else your login name."
    ),
]
Prefix = Annotated[str, typer.Argument(help="Only keys that begin so.")]

STUBS = {
    "quota": quota_pb2_grpc.QuotaServiceStub,
    "usage": quota_pb2_grpc.UsageServiceStub,
    "capacity": quota_pb2_grpc.CapacityServiceStub,
}


def call(stub: str, method: str, request: Any) -> Any:
    """One call to a service of the quota process, with the token that proves who asks when there is one."""
    endpoints, token = Endpoints.of_running(Home.from_environment()), _token()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    return run(endpoints, lambda session: session.call("quota", STUBS[stub], method, request, CALL_S, metadata))


def who(actor: str) -> str:
    """The actor given; else nobody when a token tells who it is, else whoever is logged in."""
    return actor or ("" if _token() else getpass.getuser())


def _token() -> str:
    """Of the identity provider. Raises: NotFound when the file that was named is not there."""
    path = os.environ.get(TOKEN_VARIABLE, "")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise NotFound(f"{TOKEN_VARIABLE} names {path}, which cannot be read", field=TOKEN_VARIABLE) from error


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
