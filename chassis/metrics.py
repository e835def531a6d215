"""Prometheus metrics of one process, in a registry of its own, with bounded labels."""

from collections.abc import Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """Makes metrics; asking for the same name again gives the same object.

    Raises: ValueError when a name is asked for again as something else.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU seconds, memory, open files
        self._by_name: dict[str, Any] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._seen: dict[str, set[str]] = {}

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

    def bounded(self, value: str, limit: int = 100, *, label: str = "") -> str:
        """`value` as a label while fewer than `limit` distinct ones of this `label` were seen, else "other"."""
        seen = self._seen.setdefault(label, set())
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
        known = self._by_name.get(name)
        if known is None:
            known = self._by_name[name] = kind(name, help, tuple(labels), registry=self.registry, **options)
            self._labels[name] = tuple(labels)
        if type(known) is not kind or self._labels[name] != tuple(labels):
            raise ValueError(f"metric {name} is a {type(known).__name__} with labels {self._labels[name]}")
        return known
