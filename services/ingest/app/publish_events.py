"""Use case: take events, tell a verdict on each, once Kafka has those that were accepted."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from chassis.clock import Clock
from chassis.criticality import prioritised
from chassis.errors import Invalid, Unavailable
from services.ingest.domain.event import Event, Outcome, Verdict
from services.ingest.domain.event_rules import check_event, normalise_event
from services.ingest.domain.recent_ids import RecentIds
from services.ingest.domain.tenant import normalise_tenant
from services.ingest.ports import DefinitionsInUse, EventLog, Quota

MAX_EVENTS = 500
RETRY_AFTER_S = 1.0
RESOURCE = "surface/ingest/PublishEvents/"
BYTES_RESOURCE = "bytes/surface/ingest/PublishEvents/"
Key = tuple[str, str]


@dataclass(frozen=True)
class EventVerdicts:
    """One verdict per event, in order."""

    verdicts: Sequence[Verdict]
    definitions_version: str


class PublishEvents:
    """Validation, deduplication and acknowledgement of events."""

    def __init__(
        self,
        definitions: DefinitionsInUse,
        log: EventLog,
        quota: Quota,
        recent: RecentIds,
        clock: Clock,
        ack_timeout_s: float,
    ) -> None:
        self._definitions = definitions
        self._log = log
        self._quota = quota
        self._recent = recent
        self._clock = clock
        self._ack_timeout_s = ack_timeout_s
        self._in_flight: dict[Key, asyncio.Future[None]] = {}

    async def __call__(self, events: Sequence[Event], tenant: str, num_bytes: int = 0) -> EventVerdicts:
        """Accepted = acknowledged by all replicas; duplicate = an equal id was so before. `num_bytes` = of the request.

        Raises: Invalid for too many events, Overloaded over quota or memory, Unavailable while Kafka is away or no
        definitions are known; then nothing is promised about any event, and sending all again is safe.
        """
        if len(events) > MAX_EVENTS:
            raise Invalid(f"{len(events)} events, at most {MAX_EVENTS} are allowed", field="events", reason="too_large")
        definitions = self._definitions.current
        tenant = normalise_tenant(tenant)
        if events:
            self._quota.admit_all(
                [
                    (prioritised(RESOURCE + tenant), float(len(events))),
                    (prioritised(BYTES_RESOURCE + tenant), float(num_bytes)),
                ]
            )
        now_ms = self._clock.now_ms()
        sorting = _Sorting(self._recent, self._in_flight)
        for event in events:
            try:
                normal = normalise_event(event)
                if sorting.is_known(normal, event.event_id):
                    continue
                check_event(normal, definitions, now_ms)
                sorting.take(normal, event.event_id)
            except Invalid as error:
                sorting.reject(event.event_id, error)
        await self._acknowledge(sorting, now_ms)
        return EventVerdicts(sorting.verdicts, definitions.version)

    async def _acknowledge(self, sorting: "_Sorting", now_ms: int) -> None:
        futures = self._log.append(sorting.accepted, now_ms) if sorting.accepted else ()
        for event, future in zip(sorting.accepted, futures, strict=True):
            self._in_flight[event.key] = future
        for future in set(futures):
            keys = [event.key for event, each in zip(sorting.accepted, futures, strict=True) if each is future]
            future.add_done_callback(partial(self._settle, keys))
        waiting = {*futures, *sorting.waiting_for}
        if not waiting:
            return
        done, late = await asyncio.wait(waiting, timeout=self._ack_timeout_s)
        if late:
            raise Unavailable(
                f"not acknowledged within {self._ack_timeout_s} s",
                reason="kafka_unavailable",
                retry_after_s=RETRY_AFTER_S,
            )
        for future in done:
            future.result()

    def _settle(self, keys: Sequence[Key], done: "asyncio.Future[None]") -> None:
        """Runs whether or not the caller still waits."""
        is_acknowledged = not done.cancelled() and done.exception() is None
        for key in keys:
            self._in_flight.pop(key, None)
            if is_acknowledged:
                self._recent.add(key)


class _Sorting:
    """The events of one request, sorted into accepted, duplicate and rejected."""

    def __init__(self, recent: RecentIds, in_flight: dict[Key, "asyncio.Future[None]"]) -> None:
        self.verdicts: list[Verdict] = []
        self.accepted: list[Event] = []
        self.waiting_for: list[asyncio.Future[None]] = []
        self._recent = recent
        self._in_flight = in_flight
        self._keys: set[Key] = set()

    def is_known(self, event: Event, sent_id: str) -> bool:
        """Whether an equal id was acknowledged, or is on its way, which then has to be waited for."""
        on_its_way = self._in_flight.get(event.key)
        if on_its_way is not None:
            self.waiting_for.append(on_its_way)
        is_known = on_its_way is not None or event.key in self._keys or event.key in self._recent
        if is_known:
            self.verdicts.append(Verdict(sent_id, Outcome.DUPLICATE))
        return is_known

    def take(self, event: Event, sent_id: str) -> None:
        self._keys.add(event.key)
        self.accepted.append(event)
        self.verdicts.append(Verdict(sent_id, Outcome.ACCEPTED))

    def reject(self, sent_id: str, error: Invalid) -> None:
        self.verdicts.append(Verdict(sent_id, Outcome.REJECTED, error.reason, error.field, error.message))
