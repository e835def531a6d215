"""Sends planned calls open-loop: each begins at its intended time whatever came of the ones before.

Latency counts from the intended time, so a stall is not hidden by the calls that it holds back (coordinated omission).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chassis.errors import CorkboardError
from corkboard.load.plan import Call

MAX_IN_FLIGHT = 2_000  # beyond it the calls of this process would measure this process
NOT_SENT = "NOT_SENT"
OK = "OK"


@dataclass(frozen=True)
class Answer:
    """What a good answer told: missing parts, number of items, its trace, whether all scores are numbers, versions."""

    degraded: tuple[str, ...] = ()
    num_items: int = 0
    trace: str = ""
    is_finite: bool = True
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One call: `late_ms` is how much later than intended it was sent, `latency_ms` counts from the intended time,
    `why` is what an error said."""

    at_s: float
    kind: str
    code: str
    latency_ms: float
    late_ms: float = 0.0
    degraded: tuple[str, ...] = ()
    num_items: int = 0
    why: str = ""

    @property
    def is_ok(self) -> bool:
        return self.code == OK


Send = Callable[[Call], Awaitable[Answer]]


async def drive(
    calls: Sequence[Call],
    send: Send,
    advance: Callable[[int], None] = lambda _: None,
    is_over: Callable[[], bool] = bool,
) -> list[Sample]:
    """Send every call at its time and wait for all answers; a CorkboardError is a sample with its status as code.

    `is_over` ends it early. Any other error of `send` is a defect and is raised.
    """
    samples: list[Sample] = []
    in_flight = 0
    start_s = time.perf_counter()

    async def one(call: Call) -> None:
        nonlocal in_flight
        sent_s = time.perf_counter() - start_s
        answer, code, why = Answer(), OK, ""
        try:
            answer = await send(call)
        except CorkboardError as error:
            code, why = error.status, error.message
        in_flight -= 1
        latency_ms, late_ms = (time.perf_counter() - start_s - call.at_s) * 1000, (sent_s - call.at_s) * 1000
        samples.append(Sample(call.at_s, call.kind, code, latency_ms, late_ms, answer.degraded, answer.num_items, why))
        advance(1)

    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            await asyncio.sleep(max(0.0, start_s + call.at_s - time.perf_counter()))
            if is_over():
                break
            if in_flight >= MAX_IN_FLIGHT:
                samples.append(Sample(call.at_s, call.kind, NOT_SENT, 0.0))
                advance(1)
                continue
            in_flight += 1
            tasks.create_task(one(call))
    return sorted(samples, key=lambda sample: sample.at_s)
