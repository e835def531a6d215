"""Parts under test with the task group they need; an error of the block goes on as it is, not inside of a group."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.deadline import Deadline
from chassis.lifecycle import Part


@asynccontextmanager
async def started(*parts: Part, grace_s: float = 1.0) -> AsyncIterator[None]:
    """Start the parts in order; stop them in reverse at the end."""
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()
    begun: list[Part] = []
    try:
        for part in parts:
            begun.append(part)
            await part.start(tasks)
        yield
    finally:
        for part in reversed(begun):
            await part.stop(Deadline.after(grace_s))
        await tasks.__aexit__(None, None, None)
