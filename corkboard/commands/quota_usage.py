"""`quota usage`, `rightsize`, `haircut`, `capacity`: what is used of rules, and what they should be."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import ParseDict, ParseError
from rich.console import Group, RenderableType

from chassis.errors import Invalid, NotFound
from corkboard.commands.output import Json, Output, table
from corkboard.commands.quota_calls import Actor, Prefix, Why, as_json, call, state_name, who
from corkboard.commands.quota_values import parse_span_ms, shown_amount, shown_time
from protos.quota.v1 import quota_pb2

EXIT_DRIFT = 2

Draft = Annotated[
    bool, typer.Option("--draft", help="Make drafts of the proposals; people or the policy approve them.")
]


def usage(
    prefix: Prefix = "",
    last: Annotated[str, typer.Option(help="How far back, such as 15m, 2h or 28d.")] = "1h",
    total: Annotated[bool, typer.Option("--total", help="One line per rule instead of one per minute.")] = False,
    json_: Json = False,
) -> None:
    """What was admitted and refused, by rule, service, zone and minute.

    Example: corkboard quota usage surface/blender --last 2h --total
    """
    from_ms = time.time_ns() // 1_000_000 - parse_span_ms(last)
    answer = call("usage", "QueryUsage", quota_pb2.QueryUsageRequest(key_prefix=prefix, from_time_ms=from_ms))
    output = Output(json_)
    if answer.missing:
        output.say(f"not complete: {answer.missing}")
    output.result(as_json(answer), lambda: _totals(answer) if total else _minutes(answer))


def rightsize(
    prefix: Prefix = "",
    strategy: Annotated[str, typer.Option(help="default, growth, burst, underuse, or a plug-in's name.")] = "",
    backtest: Annotated[bool, typer.Option("--backtest", help="Try it on recorded usage instead.")] = False,
    draft: Draft = False,
    why: Why = "",
    actor: Actor = "",
    json_: Json = False,
) -> None:
    """Better limits out of 28 days of usage; changes nothing without --draft.

    Example: corkboard quota rightsize surface/ --strategy underuse --backtest
    """
    request = quota_pb2.ProposeRightsizingRequest(key_prefix=prefix, strategy=strategy)
    if backtest:
        answer = call("usage", "BacktestRightsizing", request)
        Output(json_).result(as_json(answer), lambda: _outcomes(answer))
        return
    _show_proposals(call("usage", "ProposeRightsizing", request), draft, why, actor, json_)


def haircut(
    budgets: Annotated[
        Path, typer.Argument(help='JSON list such as [{"owner": "feed", "amount": 1e6, "price": {"requests": 0.01}}].')
    ],
    draft: Draft = False,
    why: Why = "",
    actor: Actor = "",
    json_: Json = False,
) -> None:
    """Cut limits of owners who overspent their budget, or give them back; changes nothing without --draft.

    Example: corkboard quota haircut budgets.json --draft
    """
    request = quota_pb2.ProposeHaircutsRequest(budgets=_read_budgets(budgets))
    _show_proposals(call("usage", "ProposeHaircuts", request), draft, why, actor, json_)


def capacity(
    team: Annotated[str, typer.Option(help="Only this team.")] = "",
    zone: Annotated[str, typer.Option(help="Only this zone.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Remove drift: make the cluster as the rules say.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask whether the cluster would take it.")] = False,
    actor: Actor = "",
    json_: Json = False,
) -> None:
    """Limits of teams per zone, what the cluster uses of them, and what differs; the exit code is 2 with drift.

    Example: corkboard quota capacity --zone az-a
    """
    if apply or dry_run:
        call("capacity", "ApplyCapacity", quota_pb2.ApplyCapacityRequest(actor=who(actor), is_dry_run=dry_run))
    report = call("capacity", "DescribeCapacity", quota_pb2.DescribeCapacityRequest(team=team, zone=zone))
    output = Output(json_)
    output.result(as_json(report), lambda: _capacity(report))
    for orphan in report.orphans:
        output.say(f"in the cluster without a rule: {orphan}")
    if any(line.is_drifted for line in report.lines):
        raise typer.Exit(EXIT_DRIFT)


def _show_proposals(answer: Any, draft: bool, why: str, actor: str, is_json: bool) -> None:
    output = Output(is_json)
    if not draft or not answer.proposals:
        output.result(as_json(answer), lambda: _proposals(answer))
        return
    request = quota_pb2.ApplyProposalsRequest(proposals=answer.proposals, actor=who(actor), why=why)
    applied = call("usage", "ApplyProposals", request)
    output.result(as_json(applied), lambda: _applied(applied))


def _proposals(answer: Any) -> RenderableType:
    if not answer.proposals:
        return "nothing should change"
    rows = [
        (each.current.key, f"{each.current.limit:.6g}", f"{each.proposed.limit:.6g}", _percent(each), each.why)
        for each in answer.proposals
    ]
    return table("proposals", ("key", "limit", "proposed", "change", "why"), rows, ("limit", "proposed", "change"))


def _applied(answer: Any) -> RenderableType:
    rows = [
        (each.key, each.rule_version.version or "", _outcome(each), each.error or "; ".join(_messages(each)))
        for each in answer.applied
    ]
    return table("drafts", ("key", "version", "now", "why not further"), rows)


def _outcome(applied: Any) -> str:
    return state_name(applied.rule_version) if applied.rule_version.version else "no draft"


def _messages(applied: Any) -> list[str]:
    return [f"{violation.field}: {violation.message}" for violation in applied.violations]


def _percent(proposal: Any) -> str:
    return f"{proposal.proposed.limit / proposal.current.limit - 1:+.1%}"


def _outcomes(answer: Any) -> RenderableType:
    rows = [_outcome_row(row.key, row) for row in answer.rows]
    rows.append(_outcome_row("total", answer.total))
    columns = ("key", "runs", "refused", "proposed", "unused", "proposed", "saved")
    note = "each proposal judged by the week after it; refused = share of what was asked, unused = of what was allowed"
    return Group(table("back-test", columns, rows, columns[1:]), note)


def _outcome_row(name: str, row: Any) -> tuple[Any, ...]:
    refused = (f"{row.refused_ratio_before:.2%}", f"{row.refused_ratio_after:.2%}")
    unused = (f"{row.unused_ratio_before:.1%}", f"{row.unused_ratio_after:.1%}")
    return name, row.num_runs, *refused, *unused, f"{row.saved:.4g} {row.unit}"


def _minutes(answer: Any) -> RenderableType:
    rows = [
        (
            item.key,
            shown_time(item.window_start_ms),
            item.service,
            item.zone,
            f"{item.admitted:g}",
            f"{item.refused:g}",
            f"{item.shadow_refused:g}",
        )
        for item in answer.windows
    ]
    columns = ("key", "minute (UTC)", "service", "zone", "admitted", "refused", "would refuse")
    return table("usage", columns, rows, columns[4:])


def _totals(answer: Any) -> RenderableType:
    sums: dict[str, list[float]] = {}
    for item in answer.windows:
        units = sums.setdefault(item.key, [0.0, 0.0, 0.0])
        for place, number in enumerate((item.admitted, item.refused, item.shadow_refused)):
            units[place] += number
    rows = [
        (key, f"{admitted:g}", f"{refused:g}", f"{shadow:g}", f"{refused / max(admitted + refused, 1e-9):.2%}")
        for key, (admitted, refused, shadow) in sorted(sums.items())
    ]
    columns = ("key", "admitted", "refused", "would refuse", "refused share")
    return table("usage", columns, rows, columns[1:])


def _capacity(report: Any) -> RenderableType:
    rows = [
        (
            line.zone,
            line.team,
            line.resource,
            shown_amount(line.limit, line.unit),
            shown_amount(line.used, line.unit),
            f"{line.used / line.limit:.0%}" if line.used >= 0 else "",
            f"drift: {shown_amount(line.found, line.unit) or 'not there'}" if line.is_drifted else "",
        )
        for line in report.lines
    ]
    columns = ("zone", "team", "resource", "limit", "used", "share", "")
    drawn = table(f"capacity ({report.target})", columns, rows, columns[3:6])
    free = [f"{name} {amount:.4g}" for name, amount in sorted(report.free.items())]
    return Group(drawn, f"left of the nodes: {', '.join(free)}") if free else drawn


def _read_budgets(path: Path) -> list[quota_pb2.Budget]:
    try:
        return [ParseDict(entry, quota_pb2.Budget()) for entry in json.loads(path.read_text())]
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", field="budgets") from error
    except (ValueError, TypeError, ParseError) as error:
        raise Invalid(f"{path} is no list of budgets: {error}", field="budgets") from error
