"""Long tasks: ended together, failing loudly, named after their part."""

import asyncio
import contextlib
import inspect

import pytest

from chassis import tasks as tasks_module
from chassis.errors import Unavailable
from chassis.tasks import Crew, Tasks, cut, owned_by, part_of
from chassis.tests.parts import crash, forever


async def test_ended_tasks_are_cancelled_and_the_group_ends() -> None:
    async with asyncio.timeout(2):
        async with Tasks() as tasks:
            task = tasks.create_task(forever())
            await tasks.end()
    assert task.cancelled()


async def test_work_that_comes_when_the_group_is_over_is_refused_and_closed() -> None:
    async with Tasks() as tasks:
        pass
    late = forever()
    with pytest.raises(RuntimeError):
        tasks.create_task(late)
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED


async def test_who_swallows_a_cancel_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "CANCEL_AGAIN_S", 0.01)

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    crew = Crew()
    in_crew, alone = (await crew.open()).create_task(stubborn()), asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await cut([alone])
        await crew.close()
    assert alone.cancelled() and in_crew.cancelled()


async def test_a_task_made_by_a_task_belongs_to_the_same_part() -> None:
    async def outer(tasks: Tasks) -> None:
        tasks.create_task(crash())

    with pytest.raises(ExceptionGroup) as raised:
        async with Tasks() as tasks:
            with owned_by("boiler"):
                tasks.create_task(outer(tasks))
    assert [part_of(error) for error in raised.value.exceptions] == ["boiler"]


def test_an_error_names_the_innermost_part_only() -> None:
    with pytest.raises(Unavailable) as raised, owned_by("outer"), owned_by("inner"):
        raise Unavailable("gone")
    assert part_of(raised.value) == "inner"
    assert part_of(KeyError()) == ""


async def test_work_returns_its_result_while_nothing_crashes() -> None:
    crew = Crew()
    (await crew.open()).create_task(forever())
    assert await crew.until_crash(asyncio.sleep(0.01, "done")) == "done"
    await crew.close()


async def test_a_crash_cuts_the_work_and_is_raised_from_it_and_again_at_the_end() -> None:
    crew, was_cut = Crew(), asyncio.Event()

    async def work() -> None:
        try:
            await forever()
        finally:
            was_cut.set()

    (await crew.open()).create_task(crash())
    for ending in (crew.until_crash(work()), crew.close()):
        with pytest.raises(ExceptionGroup):
            await ending
    assert was_cut.is_set()


async def test_the_work_s_own_error_goes_on() -> None:
    crew = Crew()
    await crew.open()
    with pytest.raises(RuntimeError, match="boiler burst"):
        await crew.until_crash(crash())
    await crew.close()
