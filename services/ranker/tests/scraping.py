"""What a started service says on its admin port."""

import asyncio
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from chassis.admin import AdminServer
from chassis.lifecycle import Service


@dataclass(frozen=True)
class Scraped:
    """The metrics of one moment."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def __call__(self, name: str, /, **labels: str) -> float:
        """The value of a series; 0 when it is not there."""
        return self.values.get((name, frozenset(labels.items())), 0.0)


async def scraped(service: Service) -> Scraped:
    """As Prometheus reads it."""
    (admin,) = (part for part in service._parts if isinstance(part, AdminServer))
    text = await asyncio.to_thread(_read, f"http://127.0.0.1:{admin.port}/metrics")
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return Scraped({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5.0) as answer:  # noqa: S310  # our own port
        return str(answer.read().decode())
