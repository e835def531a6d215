"""`feed`, `publish`, `explain`, `sequence`, `preview`: what a surface does, and looking behind it."""

import json
import time
import uuid
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from rich.console import Group, RenderableType

from chassis.errors import Invalid
from corkboard import feed_client
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.local.home import Home
from corkboard.session import Endpoints, run
from protos.blender.v1 import blender_pb2
from protos.enrich.v1 import enrich_pb2, enrich_pb2_grpc
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch

User = Annotated[str, typer.Argument(help="A user id, such as person-00042.")]
Zone = Annotated[str, typer.Option(help="Ask this zone's services.")]


def feed(
    user: User,
    surface: Annotated[str, typer.Option(help="home, related or search.")] = "home",
    subject: Annotated[str, typer.Option(help="The pin that a related feed is about.")] = "",
    query: Annotated[str, typer.Option(help="What a search feed is for.")] = "",
    page_size: Annotated[int, typer.Option(min=1, max=100, help="How many pins.")] = 20,
    page_token: Annotated[str, typer.Option(help="From the page before.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Also show why.")] = False,
    zone: Zone = "",
    json_: Json = False,
) -> None:
    """Ask for one page of a person's feed.

    Example: corkboard feed person-00042 --explain
    """
    request = blender_pb2.GetFeedRequest(
        user_id=user,
        surface=surface,
        subject_pin_id=subject,
        query=query,
        page_size=page_size,
        page_token=page_token,
        client="corkboard-cli",
    )

    async def work(session: Any) -> tuple[feed_client.Feed, Any]:
        answer = await feed_client.get_feed(session, request)
        return answer, await feed_client.explain(session, answer.response.request_id, ()) if explain else None

    answer, why = run(_endpoints(zone), work)
    data = answer.to_json() | ({"explanation": MessageToDict(why, preserving_proto_field_name=True)} if why else {})
    Output(json_).result(data, lambda: Group(answer.draw(), *([feed_client.draw_explanation(why)] if why else [])))


def publish(
    user: User,
    event_type: Annotated[str, typer.Argument(help="Such as save, click or hide.")],
    pin: Annotated[str, typer.Argument(help="The pin acted upon.")] = "",
    attributes: Annotated[str, typer.Option(help="A JSON object, such as '{\"dwell_s\": 12}'.")] = "{}",
    request_id: Annotated[str, typer.Option(help="The feed that showed the pin.")] = "",
    event_id: Annotated[str, typer.Option(help="Unique; made up when left out.")] = "",
    surface: Annotated[str, typer.Option(help="Where it happened.")] = "home",
    json_: Json = False,
) -> None:
    """Publish one event.

    Example: corkboard publish person-00042 save pin-000007
    """
    event = ingest_pb2.Event(
        event_id=event_id or uuid.uuid4().hex,
        user_id=user,
        event_type=event_type,
        event_time_ms=time.time_ns() // 1_000_000,
        pin_id=pin,
        surface=surface,
        request_id=request_id,
        attributes_json=_json_object(attributes),
    )
    verdict = run(_endpoints(), lambda session: feed_client.publish_one(session, event))
    data = MessageToDict(verdict, preserving_proto_field_name=True)
    Output(json_).result(data, lambda: pairs("published", data))
    if verdict.outcome == ingest_pb2.OUTCOME_REJECTED:
        raise Invalid(f"rejected: {verdict.code} {verdict.field}: {verdict.message}")


def explain(
    request_id: Annotated[str, typer.Argument(help="From GetFeed's answer.")],
    why_not: Annotated[list[str] | None, typer.Option(help="A pin that was not shown; may be repeated.")] = None,
    funnel: Annotated[bool, typer.Option("--funnel", help="Only stages, and what became of each generator's.")] = False,
    json_: Json = False,
) -> None:
    """Show why a served feed looks as it does.

    Example: corkboard explain REQUEST_ID --why-not pin-000007
    """
    answer = run(_endpoints(), lambda session: feed_client.explain(session, request_id, tuple(why_not or ())))
    data = MessageToDict(answer, preserving_proto_field_name=True)
    draw = feed_client.draw_funnel if funnel else feed_client.draw_explanation
    Output(json_).result(data, lambda: draw(answer))


def sequence(
    user: User,
    name: Annotated[str, typer.Argument(help="A sequence definition's name.")] = "engagement",
    max_events: Annotated[int, typer.Option(min=0, max=100_000, help="Newest first cut; 0 = all.")] = 20,
    zone: Zone = "",
    json_: Json = False,
) -> None:
    """Show a user's sequence with its version and freshness.

    Example: corkboard sequence person-00042 engagement
    """
    request = indexer_pb2.GetSequenceRequest(user_id=user, sequence=name, max_events=max_events)
    stub = indexer_pb2_grpc.SequenceServiceStub
    answer = run(_endpoints(zone), lambda session: session.call("indexer", stub, "GetSequence", request))
    rows = table_to_batch(answer.events).to_pylist()
    data = {
        "user_id": user,
        "sequence": name,
        "sequence_version": answer.sequence_version,
        "num_total": answer.num_total,
        "completeness_ratio": answer.completeness_ratio,
        "definitions_version": answer.definitions_version,
        "age_s": _age_s(answer),
        "events": rows,
    }
    Output(json_).result(_plain(data), lambda: _sequence_table(data, rows))


def preview(
    event_json: Annotated[str, typer.Argument(help="An event as JSON, with the field names of ingest's Event.")],
    json_: Json = False,
) -> None:
    """Run one event through the active definitions; nothing is written.

    Example: corkboard preview '{"user_id": "u", "event_type": "save", "pin_id": "pin-000007"}'
    """
    fields = json.loads(_json_object(event_json))
    attributes = fields.pop("attributes", {})
    defaults = {"event_id": "preview", "event_time_ms": time.time_ns() // 1_000_000, "surface": "home"}
    try:
        event = ParseDict(defaults | fields, ingest_pb2.Event())
    except ParseError as error:
        raise Invalid(f"not an event: {str(error).splitlines()[0]}") from error
    event.attributes_json = json.dumps(attributes).encode()
    request = enrich_pb2.PreviewEventRequest(event=event)
    stub = enrich_pb2_grpc.EnrichServiceStub
    answer = run(_endpoints(), lambda session: session.call("enrich", stub, "PreviewEvent", request))
    rows = table_to_batch(answer.row).to_pylist() if answer.row.ipc_stream else []
    data = MessageToDict(answer, preserving_proto_field_name=True) | {"row": _plain(rows[0]) if rows else None}
    Output(json_).result(data, lambda: _preview_table(answer, rows))


def _endpoints(zone: str = "") -> Endpoints:
    return Endpoints.of_running(Home.from_environment(), zone)


def _json_object(text: str) -> bytes:
    try:
        if isinstance(json.loads(text), dict):
            return text.encode()
    except ValueError as error:
        raise Invalid(f"not a JSON object: {text!r} ({error})") from error
    raise Invalid(f"not a JSON object: {text!r}")


def _age_s(answer: indexer_pb2.GetSequenceResponse) -> float | None:
    return (answer.as_of_ms - answer.newest_event_time_ms) / 1000 if answer.newest_event_time_ms else None


def _plain(value: Any) -> Any:
    """The same value with bytes as hex, so that JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _sequence_table(data: dict[str, Any], rows: list[dict[str, Any]]) -> RenderableType:
    hidden = {"traceparent", "attributes", "content_vector"}
    columns = [name for name in (rows[0] if rows else {}) if name not in hidden]
    head = {key: value for key, value in data.items() if key != "events"}
    return Group(pairs("sequence", head), table("events", columns, [[row[name] for name in columns] for row in rows]))


def _preview_table(answer: enrich_pb2.PreviewEventResponse, rows: list[dict[str, Any]]) -> RenderableType:
    runs = [
        (
            item.enrichment,
            item.executor,
            f"{item.duration_ms:.2f}",
            "kept" if item.is_kept else "filtered",
            item.failure or ", ".join(item.columns_written),
        )
        for item in answer.runs
    ]
    verdict = "kept" if answer.is_kept else f"filtered by {answer.filtered_by}"
    parts: list[RenderableType] = [
        table(verdict, ("enrichment", "executor", "ms", "", "columns or reason"), runs, ("ms",))
    ]
    return Group(*parts, *([pairs("row", _plain(rows[0]))] if rows else []))
