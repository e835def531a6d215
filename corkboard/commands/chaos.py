"""`corkboard chaos`: break a local Corkboard by a seeded plan, and judge what its users saw."""

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chassis.errors import Invalid, NotFound, Unavailable
from corkboard.commands.output import Json, Output, table
from corkboard.local.home import Home
from corkboard.session import Endpoints

if TYPE_CHECKING:  # the scenarios live beside the tests of the whole, in a checkout and not in the wheel
    from e2e.chaos.scenario import Scenario
    from e2e.chaos.verdict import Outcome
    from e2e.house import House

HOUSES = {"plain": (), "tls": ("--tls",), "zones": ("--zones", "a,b")}
app = typer.Typer(no_args_is_help=True, help="Break a local Corkboard by a seeded plan, and judge what users saw.")

Seed = Annotated[int, typer.Option(help="Same seed, same calls and same faults.")]
Out = Annotated[Path, typer.Option(help="Where histories and the report go, one folder for each scenario.")]
Duration = Annotated[
    float, typer.Option(min=0.0, help="Seconds of load, with new faults each minute; 0 = as long as the scenario says.")
]
Here = Annotated[
    bool, typer.Option("--here", help="Break the Corkboard that runs in CORKBOARD_HOME; else start one for the run.")
]


@app.command("list")
def list_(json_: Json = False) -> None:
    """The scenarios.

    Example: corkboard chaos list
    """
    _need_checkout()
    from e2e.chaos.scenarios import SCENARIOS

    rows = [(one.name, one.description, ", ".join(one.checks)) for one in SCENARIOS.values()]
    data = [{"name": name, "description": what, "invariants": checks.split(", ")} for name, what, checks in rows]
    Output(json_).result(data, lambda: table("scenarios", ("name", "what happens", "must hold"), rows))


@app.command("run")
def run(
    names: Annotated[list[str], typer.Argument(help="Scenarios as `corkboard chaos list` names them; all = all.")],
    seed: Seed = 0,
    out: Out = Path("chaos-runs"),
    duration: Duration = 0.0,
    here: Here = False,
    json_: Json = False,
) -> None:
    """Run scenarios, each with a control of the same seed; exit 1 when an invariant does not hold.

    Example: corkboard chaos run kill_at_random poison --seed 7
    """
    _need_checkout()
    from e2e.chaos.scenarios import SCENARIOS, scenario

    chosen = [_lasting(scenario(name), duration) for name in (SCENARIOS if names == ["all"] else names)]
    output, outcomes = Output(json_), []
    for kind in dict.fromkeys(one.house for one in chosen):
        with _house(here, output, kind) as house:
            outcomes += [_run_one(house, one, seed, out, output) for one in chosen if one.house == kind]
    _show(outcomes, output)


@app.command("replay")
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of one run, as `chaos run` wrote it.")],
    judge_only: Annotated[
        bool, typer.Option("--judge-only", help="Judge the recorded histories; run nothing.")
    ] = False,
    here: Here = False,
    json_: Json = False,
) -> None:
    """Run a recorded scenario again with its seed, or judge its recorded histories again.

    Example: corkboard chaos replay chaos-runs/poison-7 --judge-only
    """
    _need_checkout()
    from e2e.chaos.history import History
    from e2e.chaos.scenarios import scenario
    from e2e.chaos.verdict import judge

    output = Output(json_)
    try:
        plan = json.loads((folder / "plan.json").read_text())
        one, seed = _lasting(scenario(plan["scenario"]), float(plan.get("duration_s", 0.0))), int(plan["seed"])
        histories = [History.read(folder / f"{name}.jsonl") for name in ("run", "control")] if judge_only else []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Invalid(f"{folder} holds no recorded run: {error}", field="folder") from error
    if judge_only:
        _show([judge(one.name, seed, one.checks, *histories)], output)
        return
    with _house(here, output, one.house) as house:
        _show([_run_one(house, one, seed, folder.parent, output)], output)


def _lasting(one: "Scenario", duration_s: float) -> "Scenario":
    """0 = as long as it says itself."""
    is_as_long = one.ends_with_faults or duration_s in (0.0, sum(phase.duration_s for phase in one.phases))
    return one if is_as_long else one.lasting(duration_s)


def _run_one(house: "House", one: "Scenario", seed: int, out: Path, output: Output) -> "Outcome":
    from e2e.chaos.report import write_report
    from e2e.chaos.runner import run_scenario

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what a scenario wants
    with output.progress(
        f"calls of {one.name}, control and run", sum(len(one.calls(seed, is_control=each)) for each in (True, False))
    ) as advance:
        outcome = run_scenario(house, one, seed, advance)
    folder = out / f"{one.name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    outcome.run.write(folder / "run.jsonl")
    outcome.control.write(folder / "control.jsonl")
    (folder / "plan.json").write_text(json.dumps(one.plan(seed), indent=1) + "\n")
    write_report(outcome, folder / "report.html")
    output.say(f"{folder / 'report.html'}")
    return outcome


def _show(outcomes: "list[Outcome]", output: Output) -> None:
    rows: list[tuple[Any, ...]] = [
        (each.scenario, one.check, one.verdict, "; ".join((one.violations or one.in_control)[:2]))
        for each in outcomes
        for one in each.findings
    ]
    data = [
        {
            "scenario": each.scenario,
            "seed": each.seed,
            "holds": each.holds,
            "findings": [_found(one) for one in each.findings],
        }
        for each in outcomes
    ]
    output.result(data, lambda: table("invariants", ("scenario", "invariant", "verdict", "found"), rows))
    if not all(each.holds for each in outcomes):
        raise typer.Exit(1)


def _found(finding: Any) -> dict[str, Any]:
    return {**vars(finding), "verdict": finding.verdict}


@contextmanager
def _house(here: bool, output: Output, kind: str) -> "Iterator[House]":
    """The one that runs here, or one of its own for this run alone; `kind` is one of HOUSES.

    Raises: Invalid when the one here is of another kind.
    """
    from e2e.house import House, claimed_port_base

    if here:
        home = Home.from_environment()
        endpoints = Endpoints.of_running(home)
        is_zoned = len(Endpoints.zones(home)) > 1
        found = "tls" if endpoints.certificates else "zones" if is_zoned else "plain"
        if found != kind:
            raise Invalid(
                f"the Corkboard here is {found}, the scenario needs a {kind} one: leave out --here", field="here"
            )
        yield House(home.root, endpoints.ports.base)
        return
    with tempfile.TemporaryDirectory() as folder, claimed_port_base() as port_base:
        house = House(Path(folder), port_base)
        output.say("starting a Corkboard for this run, with a small world and trained models: a few minutes")
        start_s = time.monotonic()
        house.up(*HOUSES[kind])
        try:
            house.command("world", "--pins", "600", "--people", "60", "--json", timeout_s=300.0)
            house.command("train", "all", "--json", timeout_s=400.0)
            output.say(f"ready after {time.monotonic() - start_s:.0f} s")
            yield house
        finally:
            house.down()


def _need_checkout() -> None:
    try:
        import e2e.chaos  # noqa: F401
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "e2e":
            raise NotFound(
                "scenarios are part of the repository, not of the package: run this in a checkout"
            ) from error
        raise Unavailable(f"scenarios cannot be loaded: {error}") from error
