"""`zone`: take a zone of a cluster out of service for a while, and bring it back."""

import re
import signal
import time
from typing import Annotated

import typer

from chassis.errors import Invalid
from corkboard.commands.output import Output
from corkboard.zone_shift import KubernetesWorkloads, restore, shifted

app = typer.Typer(no_args_is_help=True, help="Zones of a cluster: practise to live without one.")

SECONDS = {"s": 1, "m": 60, "h": 3600}

Zone = Annotated[str, typer.Argument(help="As the charts know it, such as az-b.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Of the releases.")]
Kubeconfig = Annotated[str | None, typer.Option(help="Instead of KUBECONFIG.")]


@app.command()
def shift(
    zone: Zone,
    for_: Annotated[str, typer.Option("--for", help="How long, such as 90s, 30m, 1h.")] = "30m",
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Close the doors of a zone (blender, ingest); open them when the time is over, or at Ctrl-C.

    Example: corkboard zone shift az-b --for 30m -n feeds
    """
    output, seconds = Output(), duration_s(for_)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workloads = KubernetesWorkloads(namespace, kubeconfig)
    try:
        with shifted(workloads, zone, output.say):
            output.say(f"for {for_}; Ctrl-C ends it, and so does: corkboard zone restore {zone} -n {namespace}")
            time.sleep(seconds)
    except KeyboardInterrupt:
        output.say("ended before its time")


@app.command(name="restore")
def restore_(zone: Zone, namespace: Namespace = "default", kubeconfig: Kubeconfig = None) -> None:
    """End a shift whose command is gone.

    Example: corkboard zone restore az-b -n feeds
    """
    restore(KubernetesWorkloads(namespace, kubeconfig), zone, Output().say)


def duration_s(text: str) -> float:
    """`"30m"` → 1800. Raises: Invalid."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    if found is None or int(found[1]) == 0:
        raise Invalid(f"{text!r} is no duration; write 90s, 30m or 1h", field="for")
    return float(int(found[1]) * SECONDS[found[2]])
