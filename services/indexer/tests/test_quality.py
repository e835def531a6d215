"""Freshness, lag, lateness, coverage and versions, over five minutes, as numbers and as metrics."""

from typing import Any

import pytest

from chassis.metrics import Metrics
from sequences.definitions.definitions import Definitions
from services.indexer.app.quality_board import QualityBoard, QualityMetrics
from services.indexer.domain.quality import WINDOW_MS, Quality
from services.indexer.domain.routing import Routing
from services.indexer.domain.writes import AppendCounts
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

DAY_MS = 86_400_000


def recorded(*events: dict[str, Any], known: Definitions | None = None) -> QualityBoard:
    """A board that saw one envelope of these events become readable at NOW_MS."""
    board, known = QualityBoard(), known or definitions()
    batch = envelope(events)
    writes = Routing(known).route(batch, NOW_MS)
    report = {rows.sequence: AppendCounts(num_new=rows.rows.num_rows) for rows in writes.sequences}
    board.record(batch, writes, report, known, NOW_MS)
    return board


def timed(number: int, age_ms: int, fresh_ms: int, **values: Any) -> dict[str, Any]:
    """An event that happened `age_ms` before it was received, `fresh_ms` before NOW_MS."""
    received_ms = NOW_MS - fresh_ms
    return event(number, received_time_ms=received_ms, event_time_ms=received_ms - age_ms, **values)


def quality_of(board: QualityBoard, now_ms: int = NOW_MS) -> Quality:
    return board.of("engagement").report(now_ms)


def test_freshness_is_from_acceptance_and_lag_from_the_event() -> None:
    quality = quality_of(recorded(timed(1, 3_000, 200), timed(2, 3_000, 200)))
    assert (quality.num_events, quality.freshness_p50_s, quality.freshness_p99_s) == (2, 0.2, 0.2)
    assert (quality.lag_p50_s, quality.lag_p99_s) == (3.2, 3.2)


def test_an_event_later_than_its_type_allows_is_late() -> None:
    rating = {"event_type": "rating"}  # a rating may be a year late, a save a day
    late, early = timed(1, 2 * DAY_MS, 10), timed(2, 0, 10)
    board = recorded(late, early, timed(3, 0, 10), timed(4, 2 * DAY_MS, 10, **rating))
    assert quality_of(board).late_ratio == 0.25


def test_rows_below_the_floor_of_the_sequence_are_late() -> None:
    board, known = QualityBoard(), definitions()
    batch = envelope([event(1), event(2)])
    writes = Routing(known).route(batch, NOW_MS)
    board.record(batch, writes, {"engagement": AppendCounts(num_new=1, num_late=1)}, known, NOW_MS)
    assert quality_of(board).late_ratio == 0.5


def test_coverage_is_the_share_that_is_not_null() -> None:
    quality = quality_of(recorded(event(1, dwell_s=1.0), event(2), event(3), event(4)))
    assert (quality.coverage_ratio["dwell_s"], quality.coverage_ratio["event_id"]) == (0.25, 1.0)


def test_rows_are_counted_by_the_definitions_that_enriched_them() -> None:
    rows = [event(1), event(2, definitions_version="d-2"), event(3, event_type="hide", definitions_version="d-3")]
    assert quality_of(recorded(*rows)).rows_by_definitions_version == {"d-1": 1, "d-2": 1}


def test_what_is_older_than_five_minutes_is_forgotten() -> None:
    board = recorded(event(1))
    assert quality_of(board, NOW_MS + WINDOW_MS).num_events == 1
    assert quality_of(board, NOW_MS + WINDOW_MS + 1) == Quality()


def test_the_p99_of_answers_follows_within_a_second() -> None:
    board = recorded(timed(1, 0, 500))
    quality = board.of("engagement")
    assert quality.freshness_p99_s(NOW_MS) == 0.5
    assert quality.freshness_p99_s(NOW_MS + WINDOW_MS + 1_000) == 0.0
    assert QualityBoard().of("engagement").freshness_p99_s(NOW_MS) == 0.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


def test_metrics_are_in_seconds_and_shares_with_the_targets_beside_them(metrics: Metrics) -> None:
    known = definitions()
    published = QualityMetrics(recorded(timed(1, 1_000, 250, dwell_s=1.0), known=known), metrics)
    published.publish(known, NOW_MS)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"sequence": "engagement"} | labels)

    assert value("sequence_freshness_seconds", quantile="0.99") == 0.25
    assert value("sequence_lag_seconds", quantile="0.5") == 1.25
    assert value("sequence_coverage_ratio", column="dwell_s") == 1.0
    assert value("sequence_completeness_ratio") == 1.0
    assert value("sequence_completeness_events") == 0
    assert value("sequence_late_ratio") == 0
    assert value("sequence_target_freshness_seconds") == known.sequences["engagement"].freshness_p99_s
    assert value("sequence_target_completeness_ratio") == known.sequences["engagement"].completeness_ratio


def test_versions_are_a_bounded_label(metrics: Metrics) -> None:
    published = QualityMetrics(QualityBoard(), metrics)
    for number in range(25):
        published.count(envelope([event(number, definitions_version=f"d-{number}")]))
    name = "indexer_rows_by_definitions_total"
    assert metrics.registry.get_sample_value(name, {"definitions_version": "d-19"}) == 1
    assert metrics.registry.get_sample_value(name, {"definitions_version": "other"}) == 5
