"""`up`, `down`, `status`, `logs`, `stop`, `start`: the life of a local Corkboard."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from chassis.errors import NotFound, Unavailable
from corkboard.commands.output import Json, Output, table
from corkboard.local.control import ask
from corkboard.local.home import Home
from corkboard.local.options import Options, parse_zones
from corkboard.local.preparation import prepare
from corkboard.local.process import end_by_pid
from corkboard.local.run_file import RunFile
from corkboard.local.supervisor import Supervisor

UP_WITHIN_S = 180.0
DOWN_WITHIN_S = 45.0

Brokers = Annotated[int, typer.Option(min=1, max=3, help="Kafka brokers, each in a rack of its own.")]
Zones = Annotated[str, typer.Option(help="Availability zones, comma-separated: each gets its own services and Valkey.")]
PortBase = Annotated[int, typer.Option(min=1100, max=60000, help="The page has this port, services it plus 1 to 9.")]
Name = Annotated[str, typer.Argument(help="A process as `corkboard status` names it.")]


def up(
    brokers: Brokers = 1,
    zones: Zones = "local",
    port_base: PortBase = 7100,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Feeds as a page in the browser.")] = True,
    tls: Annotated[
        bool, typer.Option("--tls", help="mTLS between services, with certificates of an authority of this start.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready; go on in the background.")
    ] = False,
) -> None:
    """Start real servers and all services; stay until Ctrl-C.

    CORKBOARD_KAFKA, CORKBOARD_REDIS and CORKBOARD_OTLP name servers to use instead of local ones.

    Example: corkboard up --zones az-a,az-b,az-c --brokers 3
    """
    output, home = Output(), Home.from_environment()
    options = Options(
        tuple(parse_zones(zones)),
        brokers,
        port_base,
        os.environ.get("CORKBOARD_KAFKA", ""),
        os.environ.get("CORKBOARD_REDIS", ""),
        os.environ.get("CORKBOARD_OTLP", ""),
        page,
        tls,
    )
    end_stale(home, output.say)
    if detach:
        start_detached(home, options, output.say)
        output.say("everything is ready; corkboard status, corkboard down")
    else:
        run_foreground(home, options, output.say)


def run_foreground(
    home: Home, options: Options, say: Callable[[str], None], when_ready: Callable[[], None] | None = None
) -> None:
    """Supervise in this process until Ctrl-C, SIGTERM or `down`."""
    supervisor = Supervisor(home, options, say, lambda kafka, brokers: prepare(home, kafka, min(3, brokers)))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.ask_down())
    supervisor.start()
    try:
        say("everything is ready; Ctrl-C stops it all")
        if when_ready:
            when_ready()
        supervisor.watch()
    finally:
        say("stopping")
        supervisor.stop()


def start_detached(home: Home, options: Options, say: Callable[[str], None]) -> None:
    """Supervise in a background process; return when it is ready.

    Raises: Unavailable with the supervisor's last words when it does not come up.
    """
    home.create()
    log_path = home.logs / "supervisor.log"
    offset = log_path.stat().st_size if log_path.exists() else 0
    argv = [
        sys.executable,
        "-m",
        "corkboard",
        "up",
        "--brokers",
        str(options.num_brokers),
        "--zones",
        ",".join(options.zones),
        "--port-base",
        str(options.port_base),
        "--page" if options.page else "--no-page",
        *(["--tls"] if options.tls else []),
    ]
    with log_path.open("ab") as log:
        child = subprocess.Popen(  # noqa: S603  # this interpreter, our module
            argv,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"CORKBOARD_HOME": str(home.root)},
        )
    give_up_s = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < give_up_s:
        offset = _repeat_new_lines(log_path, offset, say)
        if child.poll() is not None:
            raise Unavailable(f"Corkboard did not start; see {log_path}")
        if _is_ready(home):
            return
        time.sleep(0.2)
    raise Unavailable(f"Corkboard was not ready after {UP_WITHIN_S:.0f} s; see {log_path}")


def down(json_: Json = False) -> None:
    """Stop everything that runs from this folder.

    Example: corkboard down
    """
    output, home = Output(json_), Home.from_environment()
    run = RunFile.read(home.state_file)
    if run is None:
        output.result({"stopped": []}, lambda: "nothing was running")
        return
    names = [process.name for process in run.alive()]
    if run.supervisor.is_alive():
        ask(home.control_socket, "down")
        _wait_until_gone(run, home)
    end_stale(home, output.say)
    output.result({"stopped": names}, lambda: f"stopped {', '.join(names)}")


def status(json_: Json = False) -> None:
    """Show every process: whether it is ready, its address, memory and restarts.

    Example: corkboard status --json
    """
    output = Output(json_)
    report = ask(Home.from_environment().control_socket, "status")
    output.result(report, lambda: _status_table(report))


def logs(
    name: Name,
    lines: Annotated[int, typer.Option(help="How many of the last lines.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
) -> None:
    """Print a process's log.

    Example: corkboard logs enrich -f
    """
    folder = Home.from_environment().logs
    path = folder / f"{name}.log"
    if not path.exists():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.log"))) or "none yet"
        raise NotFound(f"no log of {name!r}; there are: {known}")
    offset = path.stat().st_size
    typer.echo("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))
    while follow:
        offset = _repeat_new_lines(path, offset, typer.echo)
        time.sleep(0.3)


def stop(name: Name) -> None:
    """Stop one process and keep it stopped, to see how the others live without it.

    Example: corkboard stop cg
    """
    ask(Home.from_environment().control_socket, "stop", name=name)


def start(name: Name) -> None:
    """Start a process that was stopped.

    Example: corkboard start cg
    """
    ask(Home.from_environment().control_socket, "start", name=name)


def end_stale(home: Home, say: Callable[[str], None]) -> None:
    """End what an earlier run left behind, by pid and start time, and name it.

    Raises: Unavailable when that run is still supervised.
    """
    run = RunFile.read(home.state_file)
    if run is None:
        return
    if run.supervisor.is_alive() and run.supervisor.pid != os.getpid():
        raise Unavailable("Corkboard already runs here; see corkboard status, or stop it with corkboard down")
    for process in run.alive():
        say(f"ending {process.name} (pid {process.pid}), left over from an earlier run")
        end_by_pid(process.pid)
    home.state_file.unlink(missing_ok=True)


def is_running(home: Home) -> bool:
    """Whether a supervisor runs in `home`."""
    run = RunFile.read(home.state_file)
    return run is not None and run.supervisor.is_alive()


def _is_ready(home: Home) -> bool:
    try:
        return bool(ask(home.control_socket, "status")["is_ready"])
    except Unavailable:
        return False


def _wait_until_gone(run: RunFile, home: Home) -> None:
    give_up_s = time.monotonic() + DOWN_WITHIN_S
    while run.supervisor.is_alive() and home.state_file.exists() and time.monotonic() < give_up_s:
        time.sleep(0.1)


def _repeat_new_lines(path: Path, offset: int, say: Callable[[str], Any]) -> int:
    with path.open("rb") as stream:
        stream.seek(offset)
        text = stream.read()
    for line in text.decode(errors="replace").splitlines():
        say(line.removeprefix("· "))
    return offset + len(text)


def _status_table(report: dict[str, Any]) -> RenderableType:
    rows = [
        (row["name"], row["state"], row["address"], row["pid"] or "", f"{row['resident_mb']:,}", row["restarts"] or "")
        for row in report["processes"]
    ]
    total = sum(row["resident_mb"] for row in report["processes"])
    rows.append(("", "", "", "", f"{total:,}", ""))
    return table("Corkboard", ("process", "state", "address", "pid", "MB resident", "restarts"), rows, ("MB resident",))
