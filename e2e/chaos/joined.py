"""Whether the traces of a run are whole: no span without its parent, and every service that took part is in them."""

import time
from collections import defaultdict
from collections.abc import Iterator

from corkboard.traces.store import SpanRow, TraceStore
from e2e.chaos.history import OK, History, Record

ARRIVE_WITHIN_S = 10.0
LOOK_EVERY_S = 1.0


def traces(store: TraceStore, history: History, start_ns: int) -> list[Record]:
    """One record for each feed and publication that went well. Blocks until no more spans arrive."""
    spans = _settled(store, start_ns)
    graph = _Graph(spans)
    seen: set[str] = set()
    records = []
    for one in history.records:
        if one.op not in ("feed", "publish") or one.outcome != OK or not one.trace or one.trace in seen:
            continue
        seen.add(one.trace)
        value = {
            "services": sorted(graph.services(one.trace)),
            "num_orphans": graph.num_orphans(one.trace),
            "degraded": one.value.get("degraded", []),
        }
        records.append(Record(one.t, "traces", "trace", one.op, value, OK, one.trace))
    return records


def _settled(store: TraceStore, start_ns: int) -> list[SpanRow]:
    give_up_s, spans = time.monotonic() + ARRIVE_WITHIN_S, store.since(start_ns)
    while time.monotonic() < give_up_s:
        time.sleep(LOOK_EVERY_S)
        before, spans = len(spans), store.since(start_ns)
        if len(spans) == before:
            break
    return spans


class _Graph:
    """Spans by trace, and which traces link to which."""

    def __init__(self, spans: list[SpanRow]) -> None:
        self._by_trace: dict[str, list[SpanRow]] = defaultdict(list)
        self._linking: dict[str, set[str]] = defaultdict(set)
        for span in spans:
            self._by_trace[span.trace_id].append(span)
            for to_trace, _ in span.links:
                self._linking[to_trace].add(span.trace_id)

    def services(self, trace: str) -> set[str]:
        """In the trace and in those that go on from it over Kafka."""
        return {span.service for each in self._reached(trace) for span in self._by_trace[each]}

    def num_orphans(self, trace: str) -> int:
        spans = self._by_trace.get(trace, [])
        known = {span.span_id for span in spans}
        return sum(bool(span.parent_id) and span.parent_id not in known for span in spans)

    def _reached(self, trace: str) -> Iterator[str]:
        waiting, seen = [trace], {trace}
        while waiting:
            yield (one := waiting.pop())
            further = self._linking.get(one, set()) - seen
            seen |= further
            waiting += further
