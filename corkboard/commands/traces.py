"""`trace`: one request or event through every service, as a waterfall."""

from typing import Annotated

import typer

from chassis.errors import Invalid, NotFound
from corkboard.commands.output import Json, Output
from corkboard.local.home import Home
from corkboard.traces.store import TraceStore
from corkboard.traces.waterfall import draw, join
from protos import telemetry


def trace(
    trace_id: Annotated[str, typer.Argument(help="32 hex digits, as GetFeed answers them.")] = "",
    last: Annotated[bool, typer.Option("--last", help="The newest feed's trace.")] = False,
    json_: Json = False,
) -> None:
    """Draw a trace and what is joined to it by links.

    Example: corkboard trace --last
    """
    store = TraceStore(Home.from_environment().traces)
    joined = join(store, _chosen(store, trace_id, last))
    if not joined.spans:
        raise NotFound(f"no spans of trace {trace_id!r} here; a trace arrives about a second after its call")
    Output(json_).result(joined.to_json(), lambda: draw(joined))


def _chosen(store: TraceStore, trace_id: str, last: bool) -> str:
    if trace_id:
        return trace_id
    if not last:
        raise Invalid("give a trace id, or --last for the newest feed's")
    newest = store.named(telemetry.GET_FEED)
    if not newest:
        raise NotFound("no feed has been traced here yet; ask for one: corkboard feed USER")
    return newest[0].trace_id
