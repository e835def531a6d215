"""The life of a service: start in order, serve, drain, stop in reverse, within one budget of time."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from chassis import config as settings
from chassis import logs
from chassis.config import ServiceConfig
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.health import Health
from chassis.tasks import Crew, Tasks, owned_by, part_of

__all__ = ["Part", "Service", "Tasks", "run"]

FLUSH_S = 5.0  # after the drain: parts flush and commit; drain + flush stays under the supervisor's grace of 12 s
LATE_S = 0.5  # what a part gets beyond the deadline: gRPC's own drain ends exactly at it
GC_ALLOCATIONS = 10_000  # between two collections of the youngest; the default of 700 costs up to a tenth of the CPU
SERVING = "serving"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CRASHED, BAD_SETTINGS = 1, 2

C = TypeVar("C", bound=ServiceConfig)


class Part(Protocol):
    """Anything with a life. `start` returns when it is usable; `stop` may be called twice."""

    @property
    def name(self) -> str: ...

    async def start(self, tasks: asyncio.TaskGroup) -> None: ...

    async def stop(self, deadline: Deadline) -> None: ...


class Service:
    """Parts, then doors. Doors close first, so that nothing new comes in while parts finish."""

    def __init__(
        self, name: str, *, parts: Sequence[Part], doors: Sequence[Part], health: Health, drain_s: float = 5.0
    ) -> None:
        self.name = name
        self.health = health
        self._parts = list(parts)
        self._doors = list(doors)
        self._drain_s = drain_s
        self._started: list[Part] = []
        self._crew: Crew | None = None
        self._log = logs.get_logger("lifecycle")

    async def start(self) -> None:
        """Start everything in order. When a part fails, or a task of one, what had started is stopped and the error
        goes on."""
        self.health.set(SERVING, False, "starting")
        self._crew = Crew()
        try:
            await self._crew.until_crash(self._start_parts(await self._crew.open()))
        except BaseException:
            await self.stop()
            raise
        self.health.set(SERVING, True)

    async def stop(self) -> None:
        """Not serving, drain, stop in reverse, within one budget; it may be called again.

        Raises: the group of errors of long tasks that failed.
        """
        self.health.set(SERVING, False, "stopping")
        drained, flushed = Deadline.after(self._drain_s), Deadline.after(self._drain_s + FLUSH_S)
        while self._started:
            part = self._started.pop()
            await self._stop_part(part, drained if part in self._doors else flushed)
        crew, self._crew = self._crew, None
        if crew is not None:
            await crew.close()

    async def serve(self) -> None:
        """Start, stay until SIGTERM or SIGINT, stop. Raises what a part's task raised, after stopping."""
        asked = asyncio.Event()
        with _signals_set(asked):
            if not await self._start_unless(asked):
                return
            gc.freeze()  # what a start makes stays: looking through it again and again is a pause in some request
            self._log.info("serving")
            try:
                if self._crew is not None:
                    await self._crew.until_crash(asked.wait())
            finally:
                self._log.info("stopping")
                await self.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_parts(self, tasks: asyncio.TaskGroup) -> None:
        for part in [*self._parts, *self._doors]:
            self._started.append(part)
            with owned_by(part.name):
                await part.start(tasks)

    async def _stop_part(self, part: Part, deadline: Deadline) -> None:
        """One part's failure to stop must not keep the others from it."""
        try:
            await asyncio.wait_for(part.stop(deadline), deadline.remaining_s() + LATE_S)
        except Exception as error:
            self._log.error("a part did not stop in order", part=part.name, error=repr(error))

    async def _start_unless(self, asked: asyncio.Event) -> bool:
        """Whether everything started before the process was asked to stop; if not, it is stopped again."""
        starting = asyncio.ensure_future(self.start())
        asking = asyncio.ensure_future(asked.wait())
        try:
            await asyncio.wait({starting, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            starting.cancel()  # nothing when it is done
        await asyncio.wait({starting})
        if starting.cancelled():
            self._log.info("asked to stop while starting")
            return False
        starting.result()
        return True


@contextlib.contextmanager
def _signals_set(asked: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked.set)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def run(name: str, config_type: type[C], build: Callable[[C], Service]) -> int:
    """The whole life of a process; returns its exit code: 0 stopped in order, 1 crashed, 2 bad settings."""
    logs.configure("info", name, "")
    log = logs.get_logger("lifecycle")
    try:
        config = settings.load(config_type, f"{name.upper()}_")
        logs.configure(config.log_level, name, config.zone, secret=config.log_secret)
        log.info("starting", settings=settings.redacted(config))
        service = build(config)
    except CorkboardError as error:
        log.error("cannot start", error=error.message, field=error.field)
        return BAD_SETTINGS
    except Exception as error:
        log.error("cannot start", error=repr(error), exc_info=error)
        return CRASHED
    gc.set_threshold(GC_ALLOCATIONS)
    try:
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(service.serve())
    except BaseException as error:
        cause = _first(error)
        log.error("ended by an error", part=part_of(cause), error=repr(cause), exc_info=error)
        return CRASHED
    log.info("stopped")
    return 0


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is there: it takes a twentieth less CPU per feed, and a fifth less of an idle process."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
