"""Metrics: one object per name, a registry per service, bounded labels."""

import pytest

from chassis.metrics import Metrics


def test_same_name_is_the_same_metric() -> None:
    metrics = Metrics("test")
    assert metrics.counter("requests_total", "Requests.") is metrics.counter("requests_total", "Requests.")


def test_same_name_as_something_else_is_refused() -> None:
    metrics = Metrics("test")
    metrics.counter("requests_total", "Requests.", ("method",))
    with pytest.raises(ValueError, match=r"requests_total is a Counter with labels \('method',\)"):
        metrics.counter("requests_total", "Requests.", ("status",))
    with pytest.raises(ValueError, match="requests_total"):
        metrics.gauge("requests_total", "Requests.", ("method",))


def test_two_services_in_one_process_do_not_mix() -> None:
    first, second = Metrics("a"), Metrics("b")
    first.counter("requests_total", "Requests.").inc(3)
    second.counter("requests_total", "Requests.")
    assert b"requests_total 3.0" in first.exposition()
    assert b"requests_total 0.0" in second.exposition()


def test_label_values_are_bounded_per_label() -> None:
    metrics = Metrics("test")
    tenants = [metrics.bounded(f"tenant-{n}", 3, label="tenant") for n in range(5)]
    assert tenants == ["tenant-0", "tenant-1", "tenant-2", "other", "other"]
    assert metrics.bounded("tenant-1", 3, label="tenant") == "tenant-1"
    assert metrics.bounded("tenant-9", 3, label="method") == "tenant-9"


def test_exposition_tells_of_the_process_and_of_histograms() -> None:
    metrics = Metrics("test")
    metrics.histogram("call_seconds", "Calls.", buckets=(0.1, 1.0)).observe(0.5)
    page = metrics.exposition().decode()
    assert 'call_seconds_bucket{le="1.0"} 1.0' in page
    assert "process_resident_memory_bytes" in page
