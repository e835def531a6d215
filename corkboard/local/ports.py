"""Which port each process listens on: one base, fixed offsets, so that people can remember them."""

from dataclasses import dataclass

DEFAULT_BASE = 7100
ZONE_STEP = 1000
ADMIN_OFFSET = 100
SERVICE_OFFSETS = {
    "ingest": 1,
    "enrich": 2,
    "indexer": 3,
    "cg": 4,
    "ranker": 5,
    "ranker-leaf": 6,
    "blender": 7,
    "quota": 8,
    "indexer-lake": 9,
    "enrich-shadow": 10,
    "indexer-shadow": 11,
}


@dataclass(frozen=True)
class Ports:
    """Ports of one local Corkboard; zones are `ZONE_STEP` apart."""

    base: int = DEFAULT_BASE

    def grpc(self, service: str, zone_index: int = 0) -> int:
        return self.base + SERVICE_OFFSETS[service] + ZONE_STEP * zone_index

    def admin(self, service: str, zone_index: int = 0) -> int:
        return self.grpc(service, zone_index) + ADMIN_OFFSET

    def kafka(self, broker_index: int = 0) -> int:
        return self.base - 8 + broker_index

    def kafka_controller(self, broker_index: int = 0) -> int:
        return self.base - 18 + broker_index

    def valkey(self, zone_index: int = 0) -> int:
        return self.base + 279 + ZONE_STEP * zone_index

    @property
    def page(self) -> int:
        return self.base

    @property
    def otlp(self) -> int:
        return self.base + 217
