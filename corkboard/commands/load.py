"""`load`: an open-loop load of feeds and events, and the highest rate that a goal holds at."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.errors import Unavailable
from corkboard.commands.output import Json, Output, table
from corkboard.load.driver import Sample, drive
from corkboard.load.knee import Goal, Step, find_knee
from corkboard.load.plan import Phase, parse_mix, plan_calls
from corkboard.load.summary import sender, summarise
from corkboard.load.surface import senders
from corkboard.local.home import Home
from corkboard.session import Endpoints, Session, run

COLUMNS = ("calls", "good/s", "p50", "p90", "p99", "p99.9", "max", "degraded")


def load(
    rate: Annotated[float, typer.Option(min=0.1, help="Calls per second; where the search for the knee starts.")] = 10,
    duration: Annotated[float, typer.Option(min=1, help="Seconds; of each step when the knee is sought.")] = 30,
    mix: Annotated[str, typer.Option(help="Weights of calls; a call of events publishes five.")] = "feed=1,events=1",
    users: Annotated[int, typer.Option(min=1, help="Distinct users.")] = 50,
    arrivals: Annotated[str, typer.Option(help="poisson or constant.")] = "poisson",
    seed: Annotated[int, typer.Option(help="Same seed, same calls at the same times.")] = 0,
    find_knee_: Annotated[bool, typer.Option("--find-knee", help="Raise the rate until the goal fails.")] = False,
    goal_ms: Annotated[float, typer.Option(min=1, help="The knee's goal: p99 from the intended time.")] = 250.0,
    min_full: Annotated[
        float, typer.Option(min=0, max=1, help="The knee's goal: share of answers not degraded.")
    ] = 0.9,
    json_: Json = False,
) -> None:
    """Send calls at their intended times whatever comes of the ones before; latency counts from the intended time.

    Example: corkboard load --rate 20 --duration 60 --mix feed=3,events=1 --json
    """
    output, shares = Output(json_), parse_mix(mix)
    endpoints = Endpoints.of_running(Home.from_environment())

    async def once(session: Session, calls_per_s: float) -> list[Sample]:
        calls = plan_calls([Phase(calls_per_s, duration)], shares, users, seed, arrivals)
        with output.progress(f"calls at {calls_per_s:g}/s", len(calls)) as advance:
            return await drive(calls, senders(session, f"load-{time.time_ns()}"), advance)

    async def seek(session: Session) -> dict[str, Any]:
        goal = Goal(goal_ms, min_full_ratio=min_full)

        async def holds_at(calls_per_s: float) -> bool:
            samples = await once(session, calls_per_s)
            if sender(samples)["is_late"]:
                raise Unavailable(f"at {calls_per_s:g} calls/s this machine cannot send on time: no knee to be found")
            return goal.holds(samples)

        await once(session, rate)  # caches and connections of a cold house are not its knee
        knee, steps = await find_knee(holds_at, rate)
        return {"knee_per_s": knee, "steps": [vars(step) for step in steps], "goal": vars(goal)}

    if find_knee_:
        found = run(endpoints, seek)
        output.result(found, lambda: _knee([Step(**step) for step in found["steps"]], found["knee_per_s"]))
        return
    report = summarise(run(endpoints, lambda session: once(session, rate)), duration)
    output.result(report, lambda: _draw(report))


def _draw(report: Mapping[str, Any]) -> RenderableType:
    rows, notes = [], []
    for kind, one in report["by_kind"].items():
        took = one["latency_ms"]
        quantiles = [f"{took[name]:,.0f}" if took else "" for name in ("p50", "p90", "p99", "p999", "max")]
        rows.append((kind, one["num_calls"], f"{one['goodput_per_s']:.1f}", *quantiles, one["num_degraded"]))
        notes += [(f"{kind}: {what}", count) for what, count in {**one["errors"], **one["degraded"]}.items()]
    seconds = [
        (
            one["second"],
            one["kind"],
            one["num_calls"],
            one["num_ok"],
            one.get("p50", ""),
            one.get("p99", ""),
            one.get("max", ""),
        )
        for one in report["by_second"]
    ]
    parts: list[RenderableType] = [
        table("by second, ms", ("second", "kind", "calls", "good", "p50", "p99", "max"), seconds),
        table("latency from the intended time of sending, ms", ("kind", *COLUMNS), rows, COLUMNS),
    ]
    if notes:
        parts.append(table("errors and degraded parts", ("what", "count"), notes, ("count",)))
    if report["sender"]["is_late"]:
        parts.append(f"[yellow]the sender itself was late: p99 {report['sender']['late_p99_ms']:.0f} ms[/yellow]")
    return Group(*parts)


def _knee(steps: Sequence[Step], knee_per_s: float) -> RenderableType:
    rows = [(f"{step.calls_per_s:g}", "holds" if step.holds else "fails") for step in steps]
    return table(f"knee: {knee_per_s:g} calls/s", ("calls/s", "goal"), rows, ("calls/s",))
