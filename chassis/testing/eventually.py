"""Waiting in tests without bare sleeps."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

POLL_S = 0.01


async def eventually(check: Callable[[], Any | Awaitable[Any]], within_s: float = 2.0) -> None:
    """Return when `check()` is true; an AssertionError of `check` counts as "not yet".

    Raises: AssertionError with the last reason after `within_s` seconds of real time.
    """
    give_up_s = time.monotonic() + within_s
    last: Any = None
    while True:
        try:
            last = check()
            if inspect.isawaitable(last):
                last = await last
            if last or last is None:
                return
        except AssertionError as error:
            last = error
        if time.monotonic() > give_up_s:
            raise AssertionError(f"not within {within_s} s: {last!r}")
        await asyncio.sleep(POLL_S)
