"""A second enrich and indexer beside the real ones: same code, same events, definitions and outputs of their own."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chassis.kafka.topic import Topic
from corkboard.local.home import Home
from protos import topics

DATABASE = 1  # of the same Valkey; the real store is database 0
ENRICH_GROUP = "enrich"


@dataclass(frozen=True)
class Shadow:
    """`name` is new for each run, so that no run sees what another one left."""

    name: str
    definitions_version: str

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What it writes."""
        enriched = topics.EVENTS_ENRICHED.shadow(self.name)
        return enriched, enriched.parked, topics.EVENTS_ACCEPTED.shadow(self.name).parked

    @property
    def enrich_group(self) -> str:
        """The consumer group that reads accepted events."""
        return f"{ENRICH_GROUP}-{self.name}"

    def lake_dir(self, home: Home) -> Path:
        """Where its lake is."""
        return home.root / "shadow" / self.name

    def redis_url(self, real: str) -> str:
        """Its online store: another database of the same server."""
        return urlsplit(real)._replace(path=f"/{DATABASE}").geturl()
