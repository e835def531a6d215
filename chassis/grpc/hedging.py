"""Two attempts at one read: the second starts when the first is slow, the first good answer wins.

After "The Tail at Scale" (Dean and Barroso, 2013); the caller bounds how often the second attempt may start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_Outcome = tuple[T | None, Exception | None]


async def first_good(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T]],
    *,
    after_s: float,
    may_hedge: Callable[[], bool],
) -> T:
    """The first good answer; the other attempt is cancelled.

    Raises: what the last attempt raised, when none was good.
    """
    async with asyncio.TaskGroup() as group:
        running = {group.create_task(_outcome(first))}
        done, _ = await asyncio.wait(running, timeout=after_s)
        if not done and may_hedge():
            running.add(group.create_task(_outcome(second)))
        answer, error = await _first_good_of(running)
        for task in running:
            task.cancel()
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # T may itself admit None


async def _first_good_of(tasks: set["asyncio.Task[_Outcome[T]]"]) -> _Outcome[T]:
    running = set(tasks)
    outcome: _Outcome[T] = (None, None)
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            outcome = task.result()
            if outcome[1] is None:
                return outcome
    return outcome


async def _outcome(call: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    try:
        return await call(), None
    except Exception as error:  # handed over as a value: one failed attempt must not cancel the other
        return None, error
