"""The use case: what is acknowledged, what is a duplicate, what happens while Kafka is away."""

import asyncio
from collections.abc import Sequence

import pytest

from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Invalid, Overloaded, Unavailable
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions
from services.ingest.app.publish_events import PublishEvents
from services.ingest.domain.event import Event, Outcome
from services.ingest.domain.recent_ids import RecentIds

ACCEPTED, DUPLICATE, REJECTED = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED


class InMemoryEventLog:
    """Acknowledges at once, or when told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open: list[asyncio.Future[None]] = []
        self.is_held = False
        self.error: Exception | None = None

    def append(self, events: Sequence[Event], received_time_ms: int) -> Sequence["asyncio.Future[None]"]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_held:
            self.open.append(future)
        elif self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(None)
        self.events.extend(events)
        return [future] * len(events)


class RecordingQuota:
    """Admits, or raises `error`."""

    def __init__(self) -> None:
        self.charges: list[tuple[str, float]] = []
        self.error: Exception | None = None

    def admit_all(self, costs: Sequence[tuple[str, float]]) -> None:
        if self.error is not None:
            raise self.error
        self.charges += costs


class FixedDefinitions:
    """Always the repository's."""

    @property
    def current(self) -> Definitions:
        return repository_definitions()


class World:
    """The use case with its fakes."""

    def __init__(self, num_recent: int = 100, ack_timeout_s: float = 5.0) -> None:
        self.log = InMemoryEventLog()
        self.quota = RecordingQuota()
        self.publish = PublishEvents(
            FixedDefinitions(), self.log, self.quota, RecentIds(num_recent), SYSTEM_CLOCK, ack_timeout_s
        )

    async def outcomes(self, *ids: str) -> list[Outcome]:
        answer = await self.publish([event(each) for each in ids], "")
        return [verdict.outcome for verdict in answer.verdicts]


def event(event_id: str, user_id: str = "u-1", event_type: str = "click") -> Event:
    return Event(event_id, user_id, event_type, SYSTEM_CLOCK.now_ms(), "p-1")


async def test_verdicts_follow_the_order_of_the_events() -> None:
    world = World()
    answer = await world.publish([event("a"), event("b", event_type="gone"), event("c"), event("a")], "team")
    assert [each.outcome for each in answer.verdicts] == [ACCEPTED, REJECTED, ACCEPTED, DUPLICATE]
    assert (answer.verdicts[1].code, answer.verdicts[1].field) == ("unknown_event_type", "event_type")
    assert answer.definitions_version == repository_definitions().version
    assert [each.event_id for each in world.log.events] == ["a", "c"]
    assert world.quota.charges == [
        ("surface/ingest/PublishEvents/team/default", 4.0),
        ("bytes/surface/ingest/PublishEvents/team/default", 0.0),
    ]


async def test_an_acknowledged_event_is_a_duplicate_for_its_user_only() -> None:
    world = World()
    assert await world.outcomes("a") == [ACCEPTED]
    assert await world.outcomes("a") == [DUPLICATE]
    answer = await world.publish([event("a", user_id="u-2")], "")
    assert answer.verdicts[0].outcome is ACCEPTED


async def test_a_duplicate_is_told_only_after_the_first_was_acknowledged() -> None:
    world = World()
    world.log.is_held = True
    first = asyncio.ensure_future(world.outcomes("a"))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(world.outcomes("a"))
    done, _ = await asyncio.wait({second}, timeout=0.05)
    assert not done
    world.log.open[0].set_result(None)
    assert (await first, await second) == ([ACCEPTED], [DUPLICATE])
    assert len(world.log.events) == 1


async def test_nothing_is_falsely_acknowledged_and_a_retry_is_accepted() -> None:
    world = World()
    world.log.is_held = True
    calls = [asyncio.ensure_future(world.outcomes("a")) for _ in range(2)]
    await asyncio.sleep(0.01)
    world.log.open[0].set_exception(Unavailable("away"))
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, Unavailable)
    world.log.is_held = False
    assert await world.outcomes("a") == [ACCEPTED]


async def test_a_late_acknowledgement_still_counts_for_the_retry() -> None:
    world = World(ack_timeout_s=0.01)
    world.log.is_held = True
    with pytest.raises(Unavailable) as error:
        await world.outcomes("a")
    assert error.value.retry_after_s
    world.log.open[0].set_result(None)
    await asyncio.sleep(0)
    assert await world.outcomes("a") == [DUPLICATE]


async def test_too_many_events_are_refused_whole() -> None:
    with pytest.raises(Invalid):
        await World().outcomes(*map(str, range(501)))
    assert await World().outcomes(*map(str, range(500))) == [ACCEPTED] * 500
    assert await World().outcomes() == []


async def test_a_tenant_over_quota_is_refused_before_anything_is_kept() -> None:
    world = World()
    world.quota.error = Overloaded("quota", retry_after_s=0.5)
    with pytest.raises(Overloaded):
        await world.outcomes("a")
    assert world.log.events == []
    with pytest.raises(Invalid):
        await world.publish([event("a")], "a/b")


async def test_remembered_ids_are_bounded() -> None:
    world = World(num_recent=2)
    assert await world.outcomes("a", "b", "c") == [ACCEPTED] * 3
    assert await world.outcomes("a") == [ACCEPTED]
    assert await world.outcomes("c") == [DUPLICATE]
