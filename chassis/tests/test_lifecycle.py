"""The life of a service: order, drain, crash, budget of time."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

import pytest

from chassis.errors import Unavailable
from chassis.health import Health
from chassis.lifecycle import Part, Service
from chassis.tasks import part_of
from chassis.tests.parts import RecordingPart, crash, forever


def service(parts: Sequence[Part], doors: Sequence[Part] = (), drain_s: float = 1.0) -> Service:
    return Service("test", parts=parts, doors=doors, health=Health(), drain_s=drain_s)


async def test_parts_start_in_order_and_stop_in_reverse_doors_first() -> None:
    events: list[str] = []
    parts = [RecordingPart("store", events), RecordingPart("consumer", events)]
    async with service(parts, [RecordingPart("door", events)]) as running:
        assert events == ["start store", "start consumer", "start door"]
        assert running.health.is_ready()
        events.clear()
    assert events == [
        "stop door",
        "stopped door",
        "stop consumer",
        "stopped consumer",
        "stop store",
        "stopped store",
    ]
    assert not running.health.is_ready()


async def test_not_ready_until_all_has_started() -> None:
    running = service([RecordingPart("slow", [], start_s=0.1)])
    starting = asyncio.create_task(running.start())
    await asyncio.sleep(0.02)
    assert not running.health.is_ready()
    await starting
    assert running.health.is_ready()
    await running.stop()


async def test_stop_may_be_called_twice() -> None:
    events: list[str] = []
    running = service([RecordingPart("store", events)])
    await running.start()
    await running.stop()
    await running.stop()
    assert events.count("stop store") == 1


async def test_a_part_that_cannot_start_stops_what_had_started_and_names_itself() -> None:
    events: list[str] = []
    broken = RecordingPart("broken", events, fails_to_start=Unavailable("no port"))
    with pytest.raises(Unavailable, match="no port") as raised:
        await service([RecordingPart("store", events), broken, RecordingPart("never", events)]).start()
    assert events == ["start store", "start broken", "stop broken", "stopped broken", "stop store", "stopped store"]
    assert part_of(raised.value) == "broken"


async def test_a_part_that_cannot_stop_does_not_keep_others_from_it() -> None:
    events: list[str] = []
    broken = RecordingPart("broken", events, fails_to_stop=RuntimeError("stuck"))
    async with service([RecordingPart("store", events), broken]):
        pass
    assert events[-2:] == ["stop store", "stopped store"]


async def test_a_part_that_hangs_at_stop_is_cut_and_the_next_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.lifecycle.FLUSH_S", 0.1)
    monkeypatch.setattr("chassis.lifecycle.LATE_S", 0.05)
    events: list[str] = []
    begun_s = time.monotonic()
    async with service([RecordingPart("store", events), RecordingPart("hung", events, stop_s=60)], drain_s=0.1):
        pass
    assert time.monotonic() - begun_s < 2
    assert "stopped hung" not in events
    assert "stopped store" in events


async def test_doors_get_the_drain_and_parts_one_budget_after_it() -> None:
    store, door = RecordingPart("store", []), RecordingPart("door", [], stop_s=0.2)
    async with service([store], [door], drain_s=2.0):
        pass
    assert 1.9 < door.remaining_s <= 2.0
    assert store.remaining_s < 2.0 + 5.0 - 0.19


async def test_long_tasks_end_at_stop() -> None:
    async with asyncio.timeout(2):
        async with service([RecordingPart("busy", [], task=forever)]):
            pass


async def test_crash_of_a_part_ends_serving_after_an_orderly_stop_and_names_the_part() -> None:
    events: list[str] = []
    parts = [RecordingPart("store", events, stop_s=0.05), RecordingPart("boiler", events, task=crash)]
    with pytest.raises(ExceptionGroup) as raised:
        await service(parts, [RecordingPart("door", events)]).serve()
    (error,) = raised.value.exceptions
    assert (repr(error), part_of(error)) == ("RuntimeError('boiler burst')", "boiler")
    assert [event for event in events if event.startswith("stopped")] == [
        "stopped door",
        "stopped boiler",
        "stopped store",
    ]


async def test_crash_while_others_start_ends_the_start() -> None:
    events: list[str] = []
    parts = [RecordingPart("boiler", events, task=crash), RecordingPart("slow", events, start_s=60)]
    with pytest.raises(ExceptionGroup):
        await service(parts).serve()
    assert events[-4:] == ["stop slow", "stopped slow", "stop boiler", "stopped boiler"]


async def test_crash_while_stopping_cuts_no_part_short_and_is_told() -> None:
    events: list[str] = []

    async def crash_later() -> None:
        await asyncio.sleep(0.05)
        raise RuntimeError("late")

    parts = [RecordingPart("store", events), RecordingPart("slow", events, stop_s=0.2, task=crash_later)]
    with pytest.raises(ExceptionGroup):
        async with service(parts):
            pass
    assert events[-4:] == ["stop slow", "stopped slow", "stop store", "stopped store"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_serving_in_order(number: signal.Signals) -> None:
    events: list[str] = []
    running = service([RecordingPart("store", events)], [RecordingPart("door", events)])
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), number)
    async with asyncio.timeout(5):
        await running.serve()
    assert events[-4:] == ["stop door", "stopped door", "stop store", "stopped store"]


async def test_signal_while_starting_stops_what_had_started() -> None:
    events: list[str] = []
    running = service([RecordingPart("store", events), RecordingPart("slow", events, start_s=60)])
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await running.serve()
    assert events[-4:] == ["stop slow", "stopped slow", "stop store", "stopped store"]


async def test_cancelled_start_stops_what_had_started() -> None:
    events: list[str] = []
    running = service([RecordingPart("store", events), RecordingPart("slow", events, start_s=60)])
    starting = asyncio.create_task(running.start())
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert events[-2:] == ["stop store", "stopped store"]
