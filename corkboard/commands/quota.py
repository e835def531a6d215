"""`quota`: rules and their life, from the command line."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from corkboard.commands import quota_usage
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.commands.quota_calls import Actor, Prefix, Why, as_json, call, marks, show_rules, state_name, who
from corkboard.commands.quota_values import parse_amount, parse_span_ms, shown_limit, shown_time
from corkboard.local.home import Home
from corkboard.session import Endpoints, Session, run
from protos.quota.v1 import quota_pb2, quota_pb2_grpc

HELP = "Limits of rates and capacity: their life, what is used of them, and better ones."
EXIT_VIOLATIONS = 2

app = typer.Typer(no_args_is_help=True, help=HELP)

Key = Annotated[
    str,
    typer.Argument(
        help="team/service/method/tenant, such as surface/blender/GetFeed/default, * = any; or "
        "capacity/RESOURCE/ZONE/TEAM, such as capacity/requests.cpu/az-a/feed."
    ),
]
Version = Annotated[int, typer.Option(min=0, help="Which version; 0 = the newest.")]


@app.command()
def create(
    key: Key,
    limit: Annotated[str, typer.Option(help="Units per period, such as 100; of capacity also 500m or 16Gi.")],
    period_s: Annotated[float, typer.Option(help="Seconds.")] = 1.0,
    burst: Annotated[float, typer.Option(help="Units above the steady rate.")] = 0.0,
    unit: Annotated[
        str, typer.Option(help="requests, events, bytes or rows; of capacity cores, bytes, pods, volumes or gpus.")
    ] = "",
    owner: Annotated[str, typer.Option(help="Who may change it: a person or a group.")] = "",
    tier: Annotated[int, typer.Option(min=1, max=3, help="1 = most important.")] = 3,
    guaranteed: Annotated[float, typer.Option(help="Never cut below this, units per period.")] = 0.0,
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
    is_capacity = key.startswith("capacity/")
    rule = quota_pb2.Rule(
        key=key,
        limit=parse_amount(limit),
        period_s=period_s,
        burst=burst,
        unit=unit or (_capacity_unit(key) if is_capacity else "requests"),
        owner=owner or who(actor),
        tier=tier,
        guaranteed=guaranteed,
        is_shadow=shadow,
        safe_share=safe_share if is_global else 1.0,
        is_global=is_global,
        kind="capacity" if is_capacity else "rate",
    )
    request = quota_pb2.CreateRuleRequest(rule=rule, expected_version=expected_version, actor=who(actor), why=why)
    show_rules([call("quota", "CreateRule", request).rule_version], json_)


@app.command()
def validate(key: Key, version: Version = 0, actor: Actor = "", json_: Json = False) -> None:
    """Ask every check about a draft; violations are listed, and the exit code is then 2.

    Example: corkboard quota validate surface/blender/GetFeed/default
    """
    answer = call("quota", "ValidateRule", _ref(key, version, actor, ""))
    if answer.violations:
        rows = [(violation.field, violation.message) for violation in answer.violations]
        Output(json_).result(as_json(answer), lambda: table("violations", ("field", "what to do"), rows))
        raise typer.Exit(EXIT_VIOLATIONS)
    show_rules([answer.rule_version], json_)


@app.command()
def approve(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Approve a validated rule. Tier 1 and large changes need somebody other than the author.

    Example: corkboard quota approve surface/blender/GetFeed/default --why "load test"
    """
    request = quota_pb2.ApproveRuleRequest(ref=_ref(key, version, actor, why))
    show_rules([call("quota", "ApproveRule", request).rule_version], json_)


@app.command()
def publish(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Publish an approved rule: every process enforces it within a second. Again does no harm.

    Example: corkboard quota publish surface/blender/GetFeed/default
    """
    show_rules([call("quota", "PublishRule", _ref(key, version, actor, why)).rule_version], json_)


@app.command()
def revoke(key: Key, version: Version = 0, why: Why = "", actor: Actor = "", json_: Json = False) -> None:
    """Take a rule out of force. Tier 1 needs two persons within an hour, or an admin.

    Example: corkboard quota revoke surface/blender/GetFeed/default --why "no longer needed"
    """
    show_rules([call("quota", "RevokeRule", _ref(key, version, actor, why)).rule_version], json_)


@app.command()
def get(key: Key, version: Version = 0, json_: Json = False) -> None:
    """Everything about one rule.

    Example: corkboard quota get surface/blender/GetFeed/default
    """
    found = call("quota", "GetRule", quota_pb2.RuleRef(key=key, version=version)).rule_version
    Output(json_).result(as_json(found), lambda: _rule_page(found))


@app.command(name="list")
def list_rules(
    prefix: Prefix = "",
    published: Annotated[bool, typer.Option("--published", help="Only what is in force.")] = False,
    json_: Json = False,
) -> None:
    """Newest version of each rule, or the one in force.

    Example: corkboard quota list surface/blender --published
    """
    request = quota_pb2.ListRulesRequest(key_prefix=prefix, is_published_only=published)
    show_rules(call("quota", "ListRules", request).rule_versions, json_)


@app.command()
def watch(
    prefix: Prefix = "",
    last: Annotated[str, typer.Option("--for", help="Stop after this long, such as 30s or 5m; empty = never.")] = "",
    json_: Json = False,
) -> None:
    """What is in force, then every change as it comes, one line each.

    Example: corkboard quota watch surface/ --for 1m
    """
    limit_s = parse_span_ms(last) / 1000 if last else None
    run(Endpoints.of_running(Home.from_environment()), lambda session: _watch(session, prefix, limit_s, json_))


@app.command()
def history(key: Key, json_: Json = False) -> None:
    """Who changed a rule, when, why, and from what to what.

    Example: corkboard quota history surface/blender/GetFeed/default
    """
    answer = call("quota", "History", quota_pb2.RuleRef(key=key))
    rows = [
        (shown_time(item.time_ms), item.actor, item.action, item.after.version, _change(item), item.why)
        for item in answer.records
    ]
    columns = ("when (UTC)", "who", "what", "version", "limit", "why")
    Output(json_).result(as_json(answer), lambda: table("history", columns, rows))


for command in (quota_usage.usage, quota_usage.rightsize, quota_usage.haircut, quota_usage.capacity):
    app.command()(command)


async def _watch(session: Session, prefix: str, limit_s: float | None, is_json: bool) -> None:
    output = Output(is_json)
    request = quota_pb2.ListRulesRequest(key_prefix=prefix)
    try:
        async with asyncio.timeout(limit_s):
            async for answer in session.stream("quota", quota_pb2_grpc.QuotaServiceStub, "WatchRules", request):
                found = answer.rule_version
                line = f"{shown_time(found.changed_time_ms)}  {state_name(found):<10} {found.rule.key}  {_limit(found)}"
                output.line(as_json(found), line)
    except TimeoutError:
        return


def _rule_page(found: quota_pb2.RuleVersion) -> RenderableType:
    rule = found.rule
    values: dict[str, Any] = {
        "state": f"{state_name(found)}, version {found.version}",
        "limit": _limit(found),
        "burst": f"{rule.burst:g}",
        "guaranteed": f"{rule.guaranteed:g}",
        "safe share": f"{rule.safe_share:g}" if rule.is_global else "",
        "owner": rule.owner,
        "tier": rule.tier,
        "": marks(rule),
        "changed": f"{shown_time(found.changed_time_ms)} UTC by {found.changed_by}",
        "why": found.why,
    }
    return Group(pairs(rule.key, {name: value for name, value in values.items() if value != ""}))


def _limit(found: quota_pb2.RuleVersion) -> str:
    return shown_limit(found.rule.limit, found.rule.unit, found.rule.period_s, found.rule.kind)


def _change(record: quota_pb2.AuditRecord) -> str:
    before = f"{record.before.rule.limit:g} -> " if record.before.version not in (0, record.after.version) else ""
    return f"{before}{record.after.rule.limit:g}"


def _capacity_unit(key: str) -> str:
    resource = key.split("/")[1]
    fixed = {"pods": "pods", "volumes": "volumes", "gpu": "gpus"}
    return fixed.get(resource, "cores" if resource.endswith("cpu") else "bytes")


def _ref(key: str, version: int, actor: str, why: str) -> quota_pb2.RuleRef:
    return quota_pb2.RuleRef(key=key, version=version, actor=who(actor), why=why)
