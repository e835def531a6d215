"""Prometheus metrics of one process, in a registry of its own, with bounded labels."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """Makes metrics; asking for the same name again gives the same object."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {}
        self._seen: dict[int, set[str]] = {}

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # Prometheus' word
        return self._make(Counter, name, help, labels)

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
        return self._make(Gauge, name, help, labels)

    def histogram(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] | None = None,
    ) -> Histogram:
        return self._make(Histogram, name, help, labels, buckets=tuple(buckets or LATENCY_BUCKETS_S))

    def bounded(self, value: str, limit: int = 100) -> str:
        """`value` as a label while fewer than `limit` distinct ones were seen, else "other"."""
        seen = self._seen.setdefault(limit, set())
        if value in seen:
            return value
        if len(seen) >= limit:
            return OTHER
        seen.add(value)
        return value

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _make(self, kind: type[M], name: str, help: str, labels: Sequence[str], **options: Any) -> M:
        if name not in self._by_name:
            self._by_name[name] = kind(name, help, tuple(labels), registry=self.registry, **options)
        return cast(M, self._by_name[name])
