"""Faust's Kafka transport with our rack, with a commit before partitions go, and with an end that always comes."""

import asyncio
import contextlib
from typing import Any, Protocol, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import WorkerThread

CLIENT_STOPS_WITHIN_S = 1.5  # aiokafka says goodbye for ever while the broker is away


class Flow(Protocol):
    """What hands Faust's events on."""

    async def drain(self, within_s: float) -> None: ...

    def resume(self) -> None: ...


def transport(app: Any, flow: Flow, rack: str, drain_within_s: float) -> Any:
    """A transport for `app`; `end(transport)` ends what is left of it."""

    class RackThread(driver.AIOKafkaConsumerThread):
        Worker = DaemonThread

        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._client_rack = rack or None  # noqa: SLF001  # faust has no setting for it
            return consumer

        async def on_thread_stop(self) -> None:
            stopping = asyncio.ensure_future(super().on_thread_stop())
            await asyncio.wait({stopping}, timeout=CLIENT_STOPS_WITHIN_S)
            stopping.cancel()  # nothing when it is done; what it left is swept with the thread's other tasks

    class CommitFirst(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            thread = RackThread(self, loop=self.loop, beacon=self.beacon)
            cast("RackTransport", self.transport).thread = thread
            return thread

        async def wait_first(self, *waiting: Any, timeout: Any = None) -> Any:
            """Faust spends four tasks and as many turns of the loop on handing one message to its stream, which at
            some 300 records/s starves the intake while handlers work. The hand-over waits for nothing while the flow
            is on and the stream has room, which `MAX_FETCHED_RECORDS` sees to."""
            if len(waiting) != 2 or not self.flow_active or not self.app.flow_control.is_active():
                return await super().wait_first(*waiting, timeout=timeout)
            delivery, suspended = waiting
            suspended.close()
            await delivery
            return None

        async def on_partitions_revoked(self, revoked: set[TP]) -> None:
            self.app.flow_control.suspend()
            await flow.drain(drain_within_s)
            await self.commit()
            await super().on_partitions_revoked(revoked)

        async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
            flow.resume()
            await super().on_partitions_assigned(assigned, generation_id)

    class RackTransport(driver.Transport):
        Consumer = CommitFirst
        thread: Any = None

    return RackTransport(app.conf.broker_consumer, app)


def end(transport: Any) -> None:
    """End the consumer's thread, whatever it waits for; it is gone within `CLIENT_STOPS_WITHIN_S` and a little."""
    thread = transport.thread
    if thread is not None and not thread.thread_loop.is_closed():
        thread.thread_loop.call_soon_threadsafe(_cut, thread)


class DaemonThread(WorkerThread):
    """Does not keep a process alive that has stopped."""

    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True

    def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # that is how `end` ends it
            super().run()


def _cut(thread: Any) -> None:
    """Runs in the thread: close the connections, which nobody can afterwards, and cancel every task."""
    consumer = thread._consumer  # noqa: SLF001  # there is no public way to what a stop leaves behind
    if consumer is not None:
        for connection in list(consumer._client._conns.values()):  # noqa: SLF001
            connection.close()
    for task in asyncio.all_tasks(thread.thread_loop):
        task.cancel()
