"""What happens to a batch of records whose handler raises: try again, bisect and park, or count."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from chassis import tracing
from chassis.clock import Clock
from chassis.errors import CorkboardError, Verdict
from chassis.kafka.record import Record
from chassis.logs import get_logger
from chassis.metrics import Metrics

Handle = Callable[[Sequence[Record]], Awaitable[None]]
Check = Callable[[Record], object]
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0  # after an outage work goes on within this
MAX_LINKS = 64


class Parks(Protocol):
    """Where poison goes."""

    async def park(self, record: Record, error: Exception, attempt: int = 1) -> None: ...


class Handler:
    """Runs a handler over records of one partition until each has had its effect, is parked, or is dropped."""

    def __init__(
        self,
        name: str,
        handle: Handle,
        parker: Parks,
        metrics: Metrics,
        clock: Clock,
        on_trouble: Callable[[str], None],
        check: Check | None = None,
    ) -> None:
        self._name = name
        self._handle = handle
        self._check = check
        self._parker = parker
        self._clock = clock
        self._on_trouble = on_trouble
        labels = ("topic", "outcome")
        self._records = metrics.counter("kafka_records_handled_total", "Records handled, by what came of it.", labels)
        self._seconds = metrics.histogram("kafka_handle_seconds", "Time to handle a batch.", ("topic",))
        self._log = get_logger(name)

    async def attempt(self, records: Sequence[Record]) -> bool:
        """Whether the handler took them all at once; if not, nothing is said or counted: call for each partition."""
        with _process_span(records), self._seconds.labels(records[0].topic).time():
            try:
                await self._handle(records)
            except Exception:  # tried again by partition, where it is logged
                return False
        self._count(records, "handled")
        self._on_trouble("")
        return True

    async def __call__(self, records: Sequence[Record]) -> None:
        """Deal with records of one partition, whatever it takes; only a cancel ends it before."""
        topic = records[0].topic
        with _process_span(records), self._seconds.labels(topic).time():
            await self._until_dealt_with(records)

    async def _until_dealt_with(self, records: Sequence[Record]) -> None:
        pause_s, attempt = FIRST_PAUSE_S, 1
        while True:
            try:
                await self._handle(records)
                self._count(records, "handled")
                self._on_trouble("")
                return None
            except CorkboardError as error:
                if error.verdict is not Verdict.RETRY:
                    return await self._set_aside(records, error, attempt)
                trouble: Exception = error
            except asyncio.CancelledError:
                raise
            except Exception as error:  # the consumer loop is an edge: a bug in a handler must not lose records
                self._log.exception("a handler raised what it should not", topic=records[0].topic, num=len(records))
                return await self._set_aside(records, error, attempt)
            self._on_trouble(f"{records[0].topic}: {trouble}")
            self._log.warning("tried again later", topic=records[0].topic, attempt=attempt, error=str(trouble))
            await self._clock.sleep(pause_s)
            pause_s, attempt = min(pause_s * 2, LONGEST_PAUSE_S), attempt + 1

    async def _set_aside(self, records: Sequence[Record], error: Exception, attempt: int) -> None:
        """Set aside what the check finds; without one, or when it finds none, halve until the poison stands alone."""
        if len(records) > 1 and len(good := await self._checked(records)) < len(records):
            if good:
                await self._until_dealt_with(good)
        elif len(records) > 1:
            middle = len(records) // 2
            await self._until_dealt_with(records[:middle])
            await self._until_dealt_with(records[middle:])
        elif isinstance(error, CorkboardError) and error.verdict is Verdict.DROP:
            self._count(records, "dropped")
        else:
            await self._park(records[0], error, attempt)

    async def _checked(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that the check lets pass; the others are set aside."""
        if self._check is None:
            return records
        good = []
        for record in records:
            try:
                self._check(record)
                good.append(record)
            except CorkboardError as error:
                await self._set_aside([record], error, 1)
        return good

    async def _park(self, record: Record, error: Exception, attempt: int) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._parker.park(record, error, attempt)
                self._count([record], "parked")
                self._log.warning(
                    "parked", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error)
                )
                return
            except asyncio.CancelledError:
                raise
            except (
                Exception
            ) as refusal:  # the consumer loop is an edge: what cannot be parked stalls its partition alone
                self._log.warning("not parked, tried again later", topic=record.topic, error=repr(refusal))
                self._on_trouble(f"cannot park: {refusal}")
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _count(self, records: Sequence[Record], outcome: str) -> None:
        self._records.labels(records[0].topic, outcome).inc(len(records))


def _process_span(records: Sequence[Record]) -> AbstractContextManager[Any]:
    """The parent is the sender when one record is handled alone; several are linked."""
    topic = records[0].topic
    attributes = {
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(records),
    }
    if len(records) == 1:
        parent = tracing.context_from(records[0].headers)
        return tracing.span(f"process {topic}", kind="consumer", attributes=attributes, parent=parent)
    headers = dict.fromkeys(record.headers.get("traceparent", "") for record in records)
    links = [link for header in list(headers)[:MAX_LINKS] if (link := tracing.link_from(header))]
    return tracing.span(f"process {topic}", kind="consumer", attributes=attributes, links=links)
