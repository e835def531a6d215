"""Every edge that protos/telemetry.py declares is seen in the traces of a running house, Kafka ones included."""

import asyncio
import time
from collections.abc import Iterable

import pytest

from corkboard.publishing import publish_pins
from corkboard.readable import wait_for_pins
from corkboard.session import Session
from corkboard.traces.store import SpanRow
from e2e.house import House, eventually
from e2e.surface import event, feed_request, get_feed, publish, sequence
from protos import telemetry
from protos.pins.v1 import pins_pb2
from protos.telemetry import Edge, Tie

SPANS_WITHIN_S = 10.0
Key = tuple[str, str]


@pytest.fixture(scope="module")
def spans(house: House) -> list[SpanRow]:
    """All spans of one pin, one event and one feed that answers to it."""
    start_ns = time.time_ns()

    async def work(session: Session) -> None:
        user = f"traced-{start_ns}"
        link = f"https://traced.example/x?item={start_ns}"
        pin_id = f"traced-{start_ns}"
        pin = pins_pb2.Pin(pin_id=pin_id, title="A traced pin", link=link, locale="en-US", topics=["kitchen"])
        await publish_pins(session, [pin])
        await wait_for_pins(session, [pin_id])
        await publish(session, [event(user, "save", pin_id)])  # a pin that no process has cached yet

        async def readable() -> bool:
            return len(await sequence(session, user)) == 1

        await eventually(readable, 5.0)
        await get_feed(session, feed_request(user))
        await asyncio.sleep(1.5)

    house.run(work)
    return house.traces.since(start_ns)


class Graph:
    """Spans by id, with "is an ancestor" and "is linked to an ancestor"."""

    def __init__(self, spans: Iterable[SpanRow]) -> None:
        self.spans = list(spans)
        self.by_id: dict[Key, SpanRow] = {(span.trace_id, span.span_id): span for span in self.spans}

    def has(self, edge: Edge) -> bool:
        children = [span for span in self.spans if (span.service, span.name) == (edge.child, edge.child_span)]
        by_parent = edge.tie in (Tie.PARENT, Tie.EITHER) and any(self._under(child, edge) for child in children)
        by_link = edge.tie in (Tie.LINK, Tie.EITHER) and any(self._linked(child, edge) for child in children)
        return by_parent or by_link

    def _under(self, span: SpanRow | None, edge: Edge) -> bool:
        while span is not None:
            span = self.by_id.get((span.trace_id, span.parent_id))
            if span is not None and self._is_parent(span, edge):
                return True
        return False

    def _linked(self, span: SpanRow, edge: Edge) -> bool:
        targets = (self.by_id.get(link) for link in span.links)
        return any(
            target is not None and (self._is_parent(target, edge) or self._under(target, edge)) for target in targets
        )

    @staticmethod
    def _is_parent(span: SpanRow, edge: Edge) -> bool:
        return (span.service, span.name) == (edge.parent, edge.parent_span)


@pytest.mark.parametrize(
    "edge", telemetry.EDGES, ids=lambda edge: f"{edge.parent_span} > {edge.child}: {edge.child_span}"
)
def test_every_declared_edge_is_seen(house: House, spans: list[SpanRow], edge: Edge) -> None:
    if not Graph(spans).has(edge):
        start_ns = min(span.start_ns for span in spans)
        give_up_s = time.monotonic() + SPANS_WITHIN_S
        while not Graph(house.traces.since(start_ns)).has(edge):
            assert time.monotonic() < give_up_s, f"not seen: {edge}; {sorted({(s.service, s.name) for s in spans})}"
            time.sleep(0.5)


def test_the_check_sees_a_missing_edge(spans: list[SpanRow]) -> None:
    graph = Graph(spans)
    assert not graph.has(Edge("blender", telemetry.GET_FEED, "quota", "corkboard.quota.v1.LeaseService/Acquire"))
    reversed_edge = Edge("ranker", telemetry.RANK_SPAN, "ingest", telemetry.PUBLISH_EVENTS, Tie.EITHER)
    assert not graph.has(reversed_edge)


def test_every_stage_of_the_feed_has_a_span(spans: list[SpanRow]) -> None:
    stages = {
        span.name.removeprefix("stage ")
        for span in spans
        if span.service == "blender" and span.name.startswith("stage ")
    }
    assert stages >= set(telemetry.FEED_STAGES)
