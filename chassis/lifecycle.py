"""The life of a service: start in order, serve, drain, stop in reverse, within one budget of time."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from chassis import config as settings
from chassis import logs
from chassis.config import ServiceConfig
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.health import Health

FLUSH_S = 5.0  # after the drain: parts flush and commit; drain + flush stays under the supervisor's grace of 12 s
SERVING = "serving"

T = TypeVar("T")
C = TypeVar("C", bound=ServiceConfig)


class Part(Protocol):
    """Anything with a life. `start` returns when it is usable; `stop` may be called twice."""

    @property
    def name(self) -> str: ...

    async def start(self, tasks: asyncio.TaskGroup) -> None: ...

    async def stop(self, deadline: Deadline) -> None: ...


class Tasks(asyncio.TaskGroup):
    """A task group that can end its children: long tasks run until the service stops."""

    def __init__(self) -> None:
        super().__init__()
        self._children: set[asyncio.Task[Any]] = set()

    def create_task(  # type: ignore[override]  # coroutines only: nobody here starts a generator
        self, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        task = super().create_task(coro, **options)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    def end(self) -> None:
        """Cancel what still runs."""
        for task in list(self._children):
            task.cancel()


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
        self._tasks: Tasks | None = None
        self._log = logs.get_logger("lifecycle")

    async def start(self) -> None:
        """Start everything in order. On failure what had started is stopped and the error goes on."""
        self.health.set(SERVING, False, "starting")
        self._tasks = await Tasks().__aenter__()
        try:
            for part in [*self._parts, *self._doors]:
                self._started.append(part)
                await part.start(self._tasks)
        except BaseException:
            await self.stop()
            raise
        self.health.set(SERVING, True)

    async def stop(self) -> None:
        """Not serving, drain, stop in reverse; every part gets its turn within the budget."""
        self.health.set(SERVING, False, "stopping")
        drained, flushed = Deadline.after(self._drain_s), Deadline.after(self._drain_s + FLUSH_S)
        for part in reversed(self._started):
            deadline = drained if part in self._doors else flushed
            try:
                await asyncio.wait_for(part.stop(deadline), max(0.5, deadline.remaining_s()))
            except Exception as error:
                self._log.error("a part did not stop in order", part=part.name, error=repr(error))
        self._started.clear()
        await self._end_tasks()

    async def serve(self) -> None:
        """Start, stay until SIGTERM or SIGINT, stop. Raises what a part's task raised, after stopping."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        await self.start()
        self._log.info("serving")
        try:
            await ended.wait()
        finally:
            await self.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        tasks.end()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks.__aexit__(None, None, None)


def run(name: str, config_type: type[C], build: Callable[[C], Service]) -> int:
    """The whole life of a process; returns its exit code: 0 stopped in order, 1 crashed, 2 bad settings."""
    try:
        config = settings.load(config_type, f"{name.upper()}_")
        logs.configure(config.log_level, name, config.zone)
        log = logs.get_logger("lifecycle")
        log.info("starting", settings=settings.redacted(config))
        service = build(config)
    except CorkboardError as error:
        logs.configure("info", name, "")
        logs.get_logger("lifecycle").error("cannot start", error=error.message, field=error.field)
        return 2
    try:
        asyncio.run(service.serve())
    except BaseException as error:
        log.error("ended by an error", error=repr(_first(error)), exc_info=error)
        return 1
    log.info("stopped")
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
