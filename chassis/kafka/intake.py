"""Fetched records of one topic on their way through a handler."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from chassis.kafka.handling import Handler
from chassis.kafka.record import Record

MIN_INTERVAL_S = 0.05  # a batch costs some milliseconds whatever is in it

Finished = Callable[[Sequence[Record]], Awaitable[None]]


class Intake:
    """What waits is handled together, over all partitions; when that fails, each partition goes on alone, with
    retries and parking, so that one that is stuck stalls only itself.

    Records of a partition stay in order. Batches that are not full are kept `MIN_INTERVAL_S` apart: under load the
    handler is called seldomer, with more; the first record after a pause never waits. `finished` is told of records
    of one partition whose effect is durable.
    """

    def __init__(self, handler: Handler, finished: Finished, max_records: int, tasks: asyncio.TaskGroup) -> None:
        self._handler = handler
        self._finished = finished
        self._max_records = max_records
        self._tasks = tasks
        self._waiting: dict[int, deque[Record]] = {}
        self._together: asyncio.Task[None] | None = None
        self._alone: dict[int, asyncio.Task[None]] = {}
        self._earliest_s = 0.0
        self._has_taken = asyncio.Event()

    def add(self, records: Sequence[Record]) -> None:
        """Records of one partition, in order."""
        self._waiting.setdefault(records[0].partition, deque()).extend(records)
        self._go_on()

    def num_waiting(self, partition: int) -> int:
        """Records of a partition that no handler has yet."""
        return len(self._waiting.get(partition, ()))

    async def taken(self) -> None:
        """Return when a handler has taken records."""
        self._has_taken.clear()
        await self._has_taken.wait()

    def forget(self) -> None:
        """Drop what waits; it comes again, for nothing says that it is done."""
        self._waiting.clear()

    async def finish(self, within_s: float) -> None:
        """Forget what waits; let what is in hand end, and cut what takes longer."""
        self.forget()
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + max(0.01, within_s)
        while in_hand := self._in_hand():
            await asyncio.wait(in_hand, timeout=max(0.0, give_up_s - loop.time()))
            if loop.time() >= give_up_s:
                for task in in_hand:
                    task.cancel()
                await asyncio.gather(*in_hand, return_exceptions=True)

    def _in_hand(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._together, *self._alone.values()) if task is not None and not task.done()]

    def _go_on(self) -> None:
        if self._together is None and self._partitions():
            self._together = self._start(self._work())

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """A task for `work`; none in a group that is ending: what waits was not done, and comes again."""
        try:
            return self._tasks.create_task(work)
        except RuntimeError:
            work.close()
            return None

    def _partitions(self) -> list[int]:
        return [one for one, records in self._waiting.items() if records and one not in self._alone]

    async def _work(self) -> None:
        try:
            while self._partitions():
                await self._pause()
                if batches := self._take():
                    await self._handle(batches)
        finally:
            self._together = None

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._earliest_s - loop.time()
        if pause_s > 0 and sum(map(self.num_waiting, self._partitions())) < self._max_records:
            await asyncio.sleep(pause_s)
        self._earliest_s = loop.time() + MIN_INTERVAL_S

    def _take(self) -> dict[int, list[Record]]:
        """At most `max_records`, of every partition its share; who had one goes to the end of the line."""
        partitions = self._partitions()[: self._max_records]
        batches = {}
        for partition in partitions:
            records = self._waiting[partition] = self._waiting.pop(partition)
            num = min(len(records), self._max_records // len(partitions))
            batches[partition] = [records.popleft() for _ in range(num)]
        self._has_taken.set()
        return batches

    async def _handle(self, batches: dict[int, list[Record]]) -> None:
        if await self._handler.attempt([record for records in batches.values() for record in records]):
            for records in batches.values():
                await self._finished(records)
            return
        for partition, records in batches.items():
            if task := self._start(self._handle_alone(partition, records)):
                self._alone[partition] = task

    async def _handle_alone(self, partition: int, records: Sequence[Record]) -> None:
        try:
            await self._handler(records)
            await self._finished(records)
        finally:
            del self._alone[partition]
            self._go_on()
