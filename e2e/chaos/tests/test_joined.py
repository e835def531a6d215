"""A trace is whole when nothing in it hangs in the air, over Kafka as well."""

from pathlib import Path

import pytest

from corkboard.traces.store import SpanRow, TraceStore
from e2e.chaos import joined
from e2e.chaos.history import History, Record


def span(trace: str, number: str, service: str, parent: str = "", links: tuple[tuple[str, str], ...] = ()) -> SpanRow:
    return SpanRow(trace, number, parent, "a span", "internal", service, "", "local", 10, 20, "ok", {}, links)


@pytest.fixture
def history() -> History:
    value = {"event_id": "e", "event_time_ms": 1, "sent_s": 0.0, "code": "OK"}
    return History([Record(1.0, "surface", "publish", "ann", value, trace="t-1")])


def test_services_beyond_kafka_count_by_their_links(
    tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "LOOK_EVERY_S", 0.0)
    store = TraceStore(tmp_path / "traces.sqlite")
    store.add(
        [
            span("t-1", "a", "surface"),
            span("t-1", "b", "ingest", "a"),
            span("t-2", "c", "enrich", links=(("t-1", "b"),)),
            span("t-3", "d", "indexer", links=(("t-2", "c"),)),
            span("t-9", "x", "cg"),
        ]
    )
    [found] = joined.traces(store, history, 0)
    assert found.value["services"] == ["enrich", "indexer", "ingest", "surface"] and not found.value["num_orphans"]


def test_a_span_without_its_parent_is_an_orphan(
    tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "LOOK_EVERY_S", 0.0)
    store = TraceStore(tmp_path / "traces.sqlite")
    store.add([span("t-1", "a", "surface"), span("t-1", "b", "ingest", "gone")])
    [found] = joined.traces(store, history, 0)
    assert found.value["num_orphans"] == 1
