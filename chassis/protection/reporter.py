"""Sends what this process used of each rule to the usage topic, off the path of any request."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.protection.protection import Protection
from chassis.protection.usage import UsageWindow

WINDOW_S = 10.0  # six records a minute and rule; right-sizing looks at minutes
MAX_WAITING = 10_000  # windows kept while the topic is away (about 2 MB); the oldest go first, counted

log = get_logger(__name__)


class UsageReporter:
    """Drains `protection` every `window_s` seconds and at stop. `source` is (service, instance, zone)."""

    def __init__(
        self,
        protection: Protection,
        producer: Producer,
        topic: Topic,
        encode: Callable[[UsageWindow], bytes],
        source: tuple[str, str, str],
        *,
        clock: Clock = SYSTEM_CLOCK,
        window_s: float = WINDOW_S,
    ) -> None:
        self.name = "usage"
        self._protection, self._producer, self._topic, self._encode = protection, producer, topic, encode
        self._source, self._clock, self._window_s = source, clock, window_s
        self._waiting: deque[UsageWindow] = deque()
        self._lock = asyncio.Lock()
        self.num_lost = 0

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds."""
        tasks.create_task(self._report_forever())

    async def stop(self, deadline: Deadline) -> None:
        """Send the last windows, as far as the deadline allows."""
        try:
            async with asyncio.timeout(max(0.05, deadline.capped(2.0).remaining_s())):
                await self.report()
        except TimeoutError:
            log.warning("last usage windows not sent", num_windows=len(self._waiting))

    async def report(self) -> None:
        """One round: drain and send; what cannot be sent waits for the next round."""
        async with self._lock:
            self._collect()
            while self._waiting:
                window = self._waiting[0]
                try:
                    await self._producer.send(self._topic, self._encode(window), key=window.key.encode())
                except CorkboardError as error:
                    log.warning("usage not sent, kept for later", num_windows=len(self._waiting), error=str(error))
                    return
                self._waiting.popleft()

    def _collect(self) -> None:
        service, instance, zone = self._source
        for window in self._protection.drain_usage():
            self._waiting.append(replace(window, service=service, instance=instance, zone=zone))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.num_lost += 1

    async def _report_forever(self) -> None:
        while True:
            await self._clock.sleep(self._window_s)
            await self.report()
