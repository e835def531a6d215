"""The tour of the demo: one feed, one save, the next feed within two seconds, and the trace that joins them."""

import asyncio
import time
import uuid

from rich.console import Group, RenderableType
from rich.markup import escape

from chassis import tracing
from chassis.errors import DeadlineExceeded
from corkboard import feed_client
from corkboard.commands.output import Output, table
from corkboard.local.home import Home
from corkboard.session import Session
from corkboard.traces.store import TraceStore
from corkboard.traces.waterfall import JoinedTrace, draw, join
from protos.blender.v1 import blender_pb2
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch

PAGE_SIZE = 10
READABLE_WITHIN_S = 2.0
WARM_WITHIN_S = 10.0
WARM_POLL_S = 0.5
TRACE_WITHIN_S = 8.0
POLL_S = 0.02


async def tour(session: Session, home: Home, person: str, output: Output) -> None:
    """Show it all.

    Raises: DeadlineExceeded when the save is not readable within two seconds.
    """
    say = output.console.print
    before = await _first_feed(session, person)
    say(before.draw())
    saved = _pin_to_save(before)
    start_s = time.monotonic()
    publish_trace_id = await _save(session, person, saved, before.response.request_id)
    await _until_readable(session, person, f"{before.response.request_id}-{saved}-save")
    readable_ms = (time.monotonic() - start_s) * 1000
    after = await _feed(session, person)
    total_ms = (time.monotonic() - start_s) * 1000
    say(
        f"\n{person} saved [bold]{escape(before.title(saved))}[/bold] ({escape(before.topics(saved))}); "
        f"readable after {readable_ms:.0f} ms; the next feed came {total_ms:.0f} ms after the click\n"
    )
    why = await feed_client.explain(session, after.response.request_id, ())
    say(_changes(after, await feed_client.explain(session, before.response.request_id, ()), why))
    trace = await _joined_trace(home, after.response.trace_id, publish_trace_id)
    say("\nThe trace of that feed, joined to the trace of the save:")
    say(draw(trace))
    say(_next_commands(person, after, saved, session.endpoints.ports.page))


async def _first_feed(session: Session, person: str) -> feed_client.Feed:
    """Services that have just started may not have found each other yet: ask again for a few seconds."""
    give_up_s = time.monotonic() + WARM_WITHIN_S
    while True:
        feed = await _feed(session, person)
        if not feed.response.degradations or time.monotonic() > give_up_s:
            return feed
        await asyncio.sleep(WARM_POLL_S)


async def _feed(session: Session, person: str) -> feed_client.Feed:
    request = blender_pb2.GetFeedRequest(user_id=person, surface="home", page_size=PAGE_SIZE, client="corkboard-demo")
    return await feed_client.get_feed(session, request)


def _pin_to_save(feed: feed_client.Feed) -> str:
    """The last pin of another topic than the first one's: its effect is easiest to see."""
    first = feed.topics(feed.pin_ids[0])
    others = [pin for pin in feed.pin_ids if feed.topics(pin) != first]
    return (others or feed.pin_ids)[-1]


async def _save(session: Session, person: str, pin: str, request_id: str) -> str:
    event = ingest_pb2.Event(
        event_id=f"{request_id}-{pin}-save",
        user_id=person,
        event_type="save",
        event_time_ms=time.time_ns() // 1_000_000,
        pin_id=pin,
        surface="home",
        request_id=request_id,
    )
    with tracing.span(f"save {uuid.uuid4().hex[:4]}"):
        await feed_client.publish_one(session, event)
        return tracing.current_trace_id()


async def _until_readable(session: Session, person: str, event_id: str) -> None:
    request = indexer_pb2.GetSequenceRequest(user_id=person, sequence="engagement", max_events=5, columns=["event_id"])
    give_up_s = time.monotonic() + READABLE_WITHIN_S
    while time.monotonic() < give_up_s:
        answer = await session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "GetSequence", request)
        if event_id in table_to_batch(answer.events).column("event_id").to_pylist():
            return
        await asyncio.sleep(POLL_S)
    raise DeadlineExceeded(f"the save {event_id} was not readable after {READABLE_WITHIN_S:g} s")


def _changes(
    after: feed_client.Feed,
    why_before: blender_pb2.ExplainFeedResponse,
    why_after: blender_pb2.ExplainFeedResponse,
) -> RenderableType:
    """The new feed, each pin with its rank in the pool before and after the save."""
    old = {item.pin_id: item.rank_by_score for item in why_before.pool}
    new = {item.pin_id: item.rank_by_score for item in why_after.pool}
    rows = []
    for item in after.response.items:
        was, now = old.get(item.pin_id, -1), new.get(item.pin_id, -1)
        moved = "new candidate" if was < 0 else f"{was - now:+d} places" if was != now else "as before"
        rows.append(
            (
                item.position + 1,
                item.pin_id,
                after.title(item.pin_id),
                after.topics(item.pin_id),
                was + 1 if was >= 0 else "",
                now + 1,
                moved,
                item.reason_code,
            )
        )
    columns = ("", "pin", "title", "topics", "ranked before", "ranked now", "moved", "why")
    shaped = [f"shaped by: {event.event_type} of {event.pin_id}" for event in why_after.influencing_events[:3]]
    return Group(
        table("the next feed (what was shown before is not shown again)", columns, rows, columns[4:6]), *shaped
    )


async def _joined_trace(home: Home, feed_trace_id: str, publish_trace_id: str) -> JoinedTrace:
    """Wait until the feed's spans have arrived and are joined to the save's."""
    store = TraceStore(home.traces)
    give_up_s = time.monotonic() + TRACE_WITHIN_S
    while True:
        joined = join(store, feed_trace_id)
        found = {spans[0].trace_id for spans in joined.joined if spans}
        if publish_trace_id in found or time.monotonic() > give_up_s:
            return joined
        await asyncio.sleep(0.2)


def _next_commands(person: str, feed: feed_client.Feed, saved: str, page_port: int) -> str:
    return (
        f"\nThe same as a page: http://127.0.0.1:{page_port}/?user={person}\n"
        "\nTry next:\n"
        f"  corkboard feed {person} --explain\n"
        f"  corkboard publish {person} save {feed.pin_ids[0]}\n"
        f"  corkboard sequence {person} engagement\n"
        f"  corkboard explain {feed.response.request_id} --why-not {saved}\n"
        f"  corkboard trace {feed.response.trace_id}\n"
        "  corkboard status"
    )
