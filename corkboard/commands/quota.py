"""`quota`: rules and their life, from the command line."""

import getpass
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import RenderableType

from corkboard.commands.output import Json, Output, table
from corkboard.local.home import Home
from corkboard.session import Endpoints, run
from protos.quota.v1 import quota_pb2, quota_pb2_grpc

app = typer.Typer(no_args_is_help=True, help="Rate limits: create, validate, approve, publish, revoke, look.")

Key = Annotated[
    str, typer.Argument(help="team/service/method/tenant, such as surface/blender/GetFeed/default; * = any.")
]
Version = Annotated[int, typer.Option(min=0, help="Which version; 0 = the newest.")]
Why = Annotated[str, typer.Option(help="Reason, kept in the audit record.")]
Actor = Annotated[str, typer.Option(help="Who asks; your login name when left out.")]


@app.command()
def create(
    key: Key,
    limit: Annotated[float, typer.Option(help="Units per period.")],
    period_s: Annotated[float, typer.Option(help="Seconds.")] = 1.0,
    burst: Annotated[float, typer.Option(help="Units above the steady rate.")] = 0.0,
    unit: Annotated[str, typer.Option(help="requests, events, bytes or rows.")] = "requests",
    owner: Annotated[str, typer.Option(help="Who may change it.")] = "",
    tier: Annotated[int, typer.Option(min=1, max=3, help="1 = most important.")] = 3,
    shadow: Annotated[bool, typer.Option("--shadow", help="Count what would be refused, refuse nothing.")] = False,
    is_global: Annotated[bool, typer.Option("--global", help="One limit of all processes, shared by leases.")] = False,
    safe_share: Annotated[
        float, typer.Option(min=0, max=1, help="What a process may use without a lease; 1 / processes is always safe.")
    ] = 0.1,
    expected_version: Annotated[int, typer.Option(help="Newest version you saw; 0 = none.")] = 0,
    why: Why = "",
    actor: Actor = "",
    json_: Json = False,
) -> None:
    """Write a draft. Without --global every process has the limit for itself.

    Example: corkboard quota create surface/blender/GetFeed/default --limit 100 --burst 20
    """
    rule = quota_pb2.Rule(
        key=key,
        limit=limit,
        period_s=period_s,
        burst=burst,
        unit=unit,
        owner=owner or _actor(actor),
        tier=tier,
        is_shadow=shadow,
        safe_share=safe_share if is_global else 1.0,
        is_global=is_global,
    )
    request = quota_pb2.CreateRuleRequest(rule=rule, expected_version=expected_version, actor=_actor(actor), why=why)
    _show([_call("CreateRule", request).rule_version], json_)


@app.command()
def validate(key: Key, version: Version = 0, actor: Actor = "", json_: Json = False) -> None:
    """Check a draft; violations are listed.

    Example: corkboard quota validate surface/blender/GetFeed/default
    """
    answer = _call("ValidateRule", _ref(key, version, actor, ""))
    if answer.violations:
        rows = [(violation.field, violation.message) for violation in answer.violations]
        data = MessageToDict(answer, preserving_proto_field_name=True)
        Output(json_).result(data, lambda: table("violations", ("field", "what to do"), rows))
        raise typer.Exit(2)
    _show([answer.rule_version], json_)


@app.command()
def approve(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Approve a validated rule.

    Example: corkboard quota approve surface/blender/GetFeed/default --why "load test"
    """
    request = quota_pb2.ApproveRuleRequest(ref=_ref(key, version, actor, why))
    _show([_call("ApproveRule", request).rule_version], json_)


@app.command()
def publish(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Publish an approved rule: every process enforces it within a second.

    Example: corkboard quota publish surface/blender/GetFeed/default
    """
    _show([_call("PublishRule", _ref(key, version, actor, why)).rule_version], json_)


@app.command()
def revoke(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Take a rule out of force.

    Example: corkboard quota revoke surface/blender/GetFeed/default
    """
    _show([_call("RevokeRule", _ref(key, version, actor, why)).rule_version], json_)


@app.command(name="list")
def list_rules(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so.")] = "", json_: Json = False
) -> None:
    """Newest version of each rule.

    Example: corkboard quota list surface/blender
    """
    _show(_call("ListRules", quota_pb2.ListRulesRequest(key_prefix=prefix)).rule_versions, json_)


@app.command()
def history(key: Key, json_: Json = False) -> None:
    """Who changed a rule, when and why.

    Example: corkboard quota history surface/blender/GetFeed/default
    """
    answer = _call("History", quota_pb2.RuleRef(key=key))
    rows = [(item.time_ms, item.actor, item.action, item.after.version, item.why) for item in answer.records]
    data = MessageToDict(answer, preserving_proto_field_name=True)
    Output(json_).result(data, lambda: table("history", ("ms", "who", "what", "version", "why"), rows))


@app.command()
def usage(prefix: Annotated[str, typer.Argument(help="Only keys that begin so.")] = "", json_: Json = False) -> None:
    """What was admitted and refused, by window.

    Example: corkboard quota usage surface/blender
    """
    request = quota_pb2.QueryUsageRequest(key_prefix=prefix)
    answer = run(
        Endpoints.of_running(Home.from_environment()),
        lambda session: session.call("quota", quota_pb2_grpc.UsageServiceStub, "QueryUsage", request),
    )
    rows = [
        (item.key, item.window_start_ms, item.admitted, item.refused, item.shadow_refused) for item in answer.windows
    ]
    data = MessageToDict(answer, preserving_proto_field_name=True)
    columns = ("key", "window ms", "admitted", "refused", "would refuse")
    Output(json_).result(data, lambda: table("usage", columns, rows, columns[2:]))


def _actor(given: str) -> str:
    return given or getpass.getuser()


def _ref(key: str, version: int, actor: str, why: str) -> quota_pb2.RuleRef:
    return quota_pb2.RuleRef(key=key, version=version, actor=_actor(actor), why=why)


def _call(method: str, request: Any) -> Any:
    endpoints = Endpoints.of_running(Home.from_environment())
    return run(endpoints, lambda session: session.call("quota", quota_pb2_grpc.QuotaServiceStub, method, request))


def _show(versions: Sequence[quota_pb2.RuleVersion], is_json: bool) -> None:
    data = [MessageToDict(version, preserving_proto_field_name=True) for version in versions]
    Output(is_json).result(data, lambda: _rules_table(versions))


def _rules_table(versions: Sequence[quota_pb2.RuleVersion]) -> RenderableType:
    rows = [
        (
            item.rule.key,
            item.version,
            quota_pb2.RuleState.Name(item.state).removeprefix("RULE_STATE_").lower(),
            f"{item.rule.limit:g} {item.rule.unit} / {item.rule.period_s:g} s",
            f"{item.rule.burst:g}",
            item.rule.tier,
            item.rule.owner,
            "shadow" if item.rule.is_shadow else "",
        )
        for item in versions
    ]
    return table("rules", ("key", "version", "state", "limit", "burst", "tier", "owner", ""), rows)
