"""Tells how long ago a consumer last moved: as a metric, as a note for people, and to the liveness watchdog."""

from aiokafka import AIOKafkaConsumer

from chassis.clock import Clock
from chassis.errors import Unavailable
from chassis.health import Health, ProgressWatchdog
from chassis.kafka.connection import Connection, missing_topics
from chassis.metrics import Metrics

OBSERVE_EVERY_S = 2.0
STALLED_AFTER_S = 15.0
RESTART_AFTER_S = 300.0  # far above a broker's restart and a slow handler's commit


class Progress:
    """Watches one consumer beside its loop, so that a stuck loop is seen.

    Reported lag is no guide: the known end is stale while the broker is away. Being started again helps a hung client
    and not an absent broker, so the watchdog is kept quiet while Kafka cannot be reached at all.
    """

    def __init__(self, name: str, connection: Connection, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._name = name
        self._connection = connection
        self._health = health
        self._clock = clock
        self._watchdog = ProgressWatchdog(health, f"{name} progress", RESTART_AFTER_S, clock)
        self._age = metrics.gauge(
            "kafka_fetch_age_seconds", "Seconds since Kafka last answered a fetch.", ("consumer",)
        )
        self._client: AIOKafkaConsumer | None = None

    def follow(self, client: AIOKafkaConsumer | None) -> None:
        """Watch `client` from now on; none while there is no member."""
        self._client = client

    def beat(self) -> None:
        """A handler came back, or Kafka is being waited for: this process moves."""
        self._watchdog.beat()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(OBSERVE_EVERY_S)
            age_s = self._fetch_age_s()
            self._age.labels(self._name).set(age_s)
            is_stalled = age_s > STALLED_AFTER_S
            self._health.note(f"{self._name} fetch", f"no fetch for {age_s:.0f} s" if is_stalled else "")
            if not is_stalled or await self._is_kafka_away():
                self._watchdog.beat()

    def _fetch_age_s(self) -> float:
        if self._client is None:
            return 0.0
        polls = [self._client.last_poll_timestamp(partition) for partition in self._client.assignment()]
        known = [poll for poll in polls if poll]
        return max(0.0, (self._clock.now_ms() - max(known)) / 1000) if known else 0.0

    async def _is_kafka_away(self) -> bool:
        try:
            await missing_topics(self._connection, [])
        except Unavailable:
            return True
        return False
