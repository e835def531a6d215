"""What the engine did can be read as metrics: rows and seconds per executor, look-ups by outcome."""

from typing import Any

from chassis.metrics import Metrics
from sequences.definitions.testing import repository_definitions
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup
from sequences.engine.plan import plan_for
from sequences.testing import InMemoryLookup, events_batch
from services.enrich.app.engine_metrics import EngineMetrics


async def test_rows_are_counted_by_executor_and_outcome_and_look_ups_by_outcome() -> None:
    metrics = Metrics("enrich")
    observer = EngineMetrics(metrics)
    lookup = CachedLookup(InMemoryLookup({"p-1": {"topics": []}}), observer=observer)
    engine = Engine(plan_for(repository_definitions()), lookup, observer=observer)
    rows: list[dict[str, Any]] = [
        {"user_id": "bot-1"},
        {"attributes": b"\xff"},
        {"event_type": "long_view"},
        {},
        {"pin_id": "p-2"},
    ]
    for _ in range(2):
        await engine.run(events_batch(rows))

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    def rows_of(enrichment: str, executor: str, outcome: str) -> float | None:
        return value("enrich_rows_total", enrichment=enrichment, executor=executor, outcome=outcome)

    assert [rows_of("drop_bots", "drop_bots", each) for each in ("kept", "filtered", "failed")] == [8, 2, 0]
    assert [rows_of("attributes", "validate_schema", each) for each in ("kept", "filtered", "failed")] == [4, 0, 4]
    seconds = "enrich_executor_seconds_count"
    assert value(seconds, enrichment="time_features", executor="time_features") == 2
    assert (value("enrich_executor_seconds_sum", enrichment="attributes", executor="validate_schema") or 0) > 0
    assert value("enrich_lookups_total", outcome="ok") == 1  # the second batch had its answers from the cache
    assert value("enrich_lookup_keys_total", origin="source") == 2
