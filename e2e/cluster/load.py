"""Surfaces of several zones that call at their intended times, and a record of what they were promised."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import numpy as np

from chassis.errors import CorkboardError
from corkboard.load.driver import Answer, Sample, drive
from corkboard.load.plan import Call, Phase, plan_calls
from corkboard.load.surface import events_of, send_events
from corkboard.readable import counted
from e2e.cluster.access import Surface
from e2e.cluster.installation import Installation
from protos.blender.v1 import blender_pb2, blender_pb2_grpc

CALLS_PER_S = 1.0  # in each zone: more would measure the machine that all zones share
MIX = {"feed": 0.7, "events": 0.3}
NUM_PEOPLE = 60
LONGEST_S = 420.0
FIRST_CALLS = 5
FEED_TIMEOUT_S = 10.0  # how long answers take is measured, not cut off: an error here is not a starved machine
PAGE_SIZE = 10


@dataclass
class Heard:
    """What the surface of one zone was told: every call, and how many events of each user were acknowledged."""

    zone: str
    samples: list[Sample] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def errors(self) -> Counter[str]:
        return Counter(f"{one.kind} {one.code}: {one.why}" for one in self.samples if not one.is_ok)

    @property
    def error_ratio(self) -> float:
        return self.errors.total() / max(1, len(self.samples))

    def latency_ms(self, quantile: float, kind: str = "feed") -> float:
        """Of good answers, from the intended time of sending."""
        values = [one.latency_ms for one in self.samples if one.is_ok and one.kind == kind]
        return float(np.quantile(values, quantile)) if values else float("inf")

    def summary(self) -> dict[str, object]:
        """For a report."""
        feeds = [one for one in self.samples if one.is_ok and one.kind == "feed"]
        return {
            "calls": len(self.samples),
            "errors": dict(self.errors),
            "feed_p50_ms": _rounded(self.latency_ms(0.5)),
            "feed_p99_ms": _rounded(self.latency_ms(0.99)),
            "events_p99_ms": _rounded(self.latency_ms(0.99, "events")),
            "degraded": dict(Counter(part for one in feeds for part in one.degraded).most_common(6)),
            "empty_feeds": sum(not one.num_items for one in feeds),
        }


def _rounded(milliseconds: float) -> int | None:
    """None where nothing was answered."""
    return round(milliseconds) if np.isfinite(milliseconds) else None


async def press(
    installation: Installation,
    zones: Sequence[str],
    run: str,
    seconds: float,
    during: Callable[[], Awaitable[None]] | None = None,
    calls_per_s: float = CALLS_PER_S,
) -> dict[str, Heard]:
    """Load from a surface in each zone for `seconds`, and longer until `during` has ended. `run` names its users."""
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        surfaces = [installation.surface(zone) for zone in zones]
        for surface in surfaces:
            stack.push_async_callback(surface.close)
        await asyncio.gather(*(_connect(surface) for surface in surfaces))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_one(surface, run, calls_per_s, over)) for surface in surfaces]
            waiting = [tasks.create_task(asyncio.sleep(seconds))]
            if during is not None:
                waiting.append(tasks.create_task(_as_task(during)))
            await asyncio.gather(*waiting)
            over.set()
        return {heard.zone: heard for heard in (task.result() for task in running)}


async def _as_task(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _connect(surface: Surface) -> None:
    """The first calls open connections; they are not measured, and may fail where a zone is away."""
    for number in range(FIRST_CALLS):
        try:
            await send_feed(surface, Call(number, 0.0, "feed", number))
        except CorkboardError:  # what the measured calls find is what counts
            continue


async def send_feed(surface: Surface, call: Call) -> Answer:
    """One first page. Raises: the chassis error of a failed call."""
    request = blender_pb2.GetFeedRequest(user_id=f"person-{call.user:05d}", surface="home", page_size=PAGE_SIZE)
    stub = blender_pb2_grpc.FeedServiceStub
    feed = await surface.call("blender", stub, "GetFeed", request, FEED_TIMEOUT_S)
    return Answer(tuple(item.component for item in feed.degradations), len(feed.items), feed.trace_id)


async def _one(surface: Surface, run: str, calls_per_s: float, over: asyncio.Event) -> Heard:
    heard = Heard(surface.zone)
    name = f"{run}-{surface.zone}"

    async def send(call: Call) -> Answer:
        if call.kind == "feed":
            return await send_feed(surface, call)
        events = events_of(name, call)
        heard.sent.update(event.user_id for event in events)
        answer = await send_events(surface, events)
        heard.acknowledged.update(event.user_id for event in events)
        return answer

    calls = plan_calls([Phase(calls_per_s, LONGEST_S)], MIX, NUM_PEOPLE, seed=sum(map(ord, name)))
    heard.samples = await drive(calls, send, is_over=over.is_set)
    return heard


async def readable(surface: Surface, heard: Mapping[str, Heard], within_s: float = 60.0) -> None:
    """Every acknowledged event is in its user's sequence of the surface's zone, and nothing that was not sent.

    Raises: AssertionError with the users whose events are missing or too many.
    """
    acknowledged = Counter[str]()
    sent = Counter[str]()
    for one in heard.values():
        acknowledged += one.acknowledged
        sent += one.sent
    async with aclosing(_Closing(surface)), asyncio.timeout(within_s + 30.0):
        give_up_s = asyncio.get_running_loop().time() + within_s
        while True:
            found = await counted(surface, sorted(sent))
            missing = {user: n - found[user] for user, n in acknowledged.items() if found[user] < n}
            if not missing:
                break
            assert asyncio.get_running_loop().time() < give_up_s, f"zone {surface.zone} lacks events of {missing}"
            await asyncio.sleep(0.5)
    too_many = {user: found[user] - n for user, n in sent.items() if found[user] > n}
    assert not too_many, f"zone {surface.zone} has more events than were sent: {too_many}"


class _Closing:
    """A surface as `aclosing` takes it."""

    def __init__(self, surface: Surface) -> None:
        self.aclose = surface.close
