"""The long tasks of a service, in one group that can be ended and whose failures name the part they belong to."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_AGAIN_S = 5.0  # above what anybody here takes to end
PART_NOTE = "part: "
_owner: ContextVar[str] = ContextVar("owner", default="")


@contextmanager
def owned_by(part: str) -> Iterator[None]:
    """Errors of the block, and of tasks created in it or by such tasks, name `part`."""
    token = _owner.set(part)
    try:
        yield
    except Exception as error:
        _name(error, part)
        raise
    finally:
        _owner.reset(token)


class Tasks(asyncio.TaskGroup):
    """A task group that can end its children: long tasks run until the service stops."""

    def __init__(self) -> None:
        super().__init__()
        self._children: set[asyncio.Task[Any]] = set()

    def create_task(  # type: ignore[override]  # coroutines only: nobody here starts a generator
        self, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        try:
            task = super().create_task(coro, **options)
        except RuntimeError:  # the group is ending
            coro.close()
            raise
        owner = _owner.get()
        self._children.add(task)
        task.add_done_callback(lambda done: self._forget(done, owner))
        return task

    async def end(self) -> None:
        """Cancel what still runs, and wait for it."""
        while self._children:
            await cut(self._children)

    def _forget(self, task: asyncio.Task[Any], owner: str) -> None:
        self._children.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and owner:
            _name(error, owner)


async def cut(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` until they are over. Once is not always enough: aiokafka, and `asyncio.wait_for` before Python
    3.12, now and then swallow a cancel that was meant for their caller, who then goes on."""
    all_of_them = list(tasks)
    running = {task for task in all_of_them if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*all_of_them, return_exceptions=True)


def part_of(error: BaseException) -> str:
    """The part that raised `error`, itself or in a task; empty when no part did."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(PART_NOTE)]
    return notes[0].removeprefix(PART_NOTE) if notes else ""


def _name(error: BaseException, part: str) -> None:
    if not part_of(error):
        error.add_note(f"{PART_NOTE}{part}")


class Crew:
    """Holds `tasks` in a task of its own, so that a crash cancels the other long tasks and nothing else: whoever
    stops the parts is not cut short by it."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self._is_open = asyncio.Event()
        self._is_over = asyncio.Event()
        self._holding = asyncio.create_task(self._hold())  # the root of all others; `close` waits for it

    async def open(self) -> Tasks:
        """The group, ready for tasks."""
        await self._is_open.wait()
        return self.tasks

    async def until_crash(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` and return its result. Raises: the group of errors of a task that fails first; `work` is cut."""
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait({working, self._holding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
        if self._holding.done():
            await self._holding
        return await working

    async def close(self) -> None:
        """End every task. Raises: the group of errors of tasks that failed."""
        self._is_over.set()
        await self._holding

    async def _hold(self) -> None:
        async with self.tasks:
            self._is_open.set()
            await self._is_over.wait()
            await self.tasks.end()
