"""A part that cannot start yet keeps the process up and not ready."""

import asyncio

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.patience import Patient
from chassis.tasks import Crew
from chassis.testing import FakeClock, eventually


class Late:
    """Starts at the third attempt."""

    name = "late"

    def __init__(self) -> None:
        self.num_starts = 0
        self.is_stopped = False

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        self.num_starts += 1
        if self.num_starts < 3:
            raise Unavailable("Kafka is away")

    async def stop(self, deadline: Deadline) -> None:
        self.is_stopped = True


async def test_it_is_started_until_that_succeeds() -> None:
    part, health, clock, crew = Late(), Health(), FakeClock(), Crew()
    patient = Patient(part, health, clock)
    await patient.start(await crew.open())
    await eventually(lambda: health.report()["late"] == "Kafka is away", 2.0)
    assert not health.is_ready()
    await eventually(lambda: _after(clock) and health.is_ready(), 2.0)
    assert part.num_starts == 3
    await patient.stop(Deadline.after(1.0))
    assert part.is_stopped
    await crew.close()


async def test_a_stop_ends_the_waiting() -> None:
    part, health, crew = Late(), Health(), Crew()
    patient = Patient(part, health, FakeClock())
    await patient.start(await crew.open())
    await eventually(lambda: part.num_starts == 1, 2.0)
    await patient.stop(Deadline.after(1.0))
    assert part.is_stopped
    await crew.close()


def _after(clock: FakeClock) -> bool:
    clock.advance(2.0)
    return True
