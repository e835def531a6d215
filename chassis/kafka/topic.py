"""What a topic is, so that the admin, producers and consumers agree on it."""

from dataclasses import dataclass, replace

PARKED_RETENTION_S = 14 * 86_400
SHADOW_RETENTION_S = 86_400


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. `retention_s` is ignored when `is_compacted`."""

    name: str
    key: str
    value: str
    owner: str
    consumers: tuple[str, ...]
    num_partitions: int
    retention_s: int = 7 * 86_400
    is_compacted: bool = False

    @property
    def parked(self) -> "Topic":
        """Where a consumer puts the records of this topic that it cannot process."""
        return Topic(
            f"{self.name}.parked",
            key="as it was",
            value="the original bytes",
            owner="any consumer",
            consumers=("people",),
            num_partitions=1,
            retention_s=PARKED_RETENTION_S,
        )

    def shadow(self, name: str) -> "Topic":
        """The same topic for the shadow `name`: processes that run beside the real ones; "" is the topic itself."""
        return replace(self, name=f"{self.name}.{name}", retention_s=SHADOW_RETENTION_S) if name else self
