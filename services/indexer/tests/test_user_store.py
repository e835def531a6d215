"""What every UserStore promises; run against the fake and against the real one."""

import numpy as np

from services.indexer.domain.routing import Routing
from services.indexer.domain.users import ACTED_WINDOW_MS, MAX_PINS, PinServing, UserQuery, UserVector
from services.indexer.tests.conftest import Stores
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

ROUTING = Routing(definitions())
HOME = UserQuery("user-1", "home", NOW_MS - 1000, NOW_MS - ACTED_WINDOW_MS)


def vector(value: float, computed_time_ms: int, encoder: str = "two_tower") -> UserVector:
    return UserVector("user-1", encoder, f"v{value}", np.full(4, value, np.float32), computed_time_ms)


def serving(pin_ids: tuple[str, ...], time_ms: int, surface: str = "home", locale: str = "") -> PinServing:
    return PinServing("user-1", surface, pin_ids, time_ms, 1, locale)


async def test_unknown_user_is_empty(stores: Stores) -> None:
    record = await stores.users.read(UserQuery("nobody", "home"))
    assert (record.vectors, record.seen_pin_ids, record.blocked_pin_ids, record.version) == ((), (), (), 0)
    assert dict(record.profile) == {}


async def test_served_pins_are_seen_within_the_window_on_their_surface(stores: Stores) -> None:
    await stores.users.mark_served(
        [
            serving(("old",), NOW_MS - 1001),
            serving(("a", "b"), NOW_MS - 500),
            serving(("elsewhere",), NOW_MS, surface="related"),
            serving(("c",), NOW_MS - 1),
        ]
    )
    assert (await stores.users.read(HOME)).seen_pin_ids == ("c", "b", "a")


async def test_without_a_surface_nothing_is_seen(stores: Stores) -> None:
    await stores.users.mark_served([serving(("a",), NOW_MS)])
    assert (await stores.users.read(UserQuery("user-1"))).seen_pin_ids == ()


async def test_pins_acted_upon_are_seen_for_long_and_hidden_ones_blocked(stores: Stores) -> None:
    day_ms = 86_400_000
    events = [
        event(1, pin_id="saved", event_time_ms=NOW_MS - 300 * day_ms),
        event(2, pin_id="hidden", event_type="hide"),
        event(3, pin_id="ancient", event_time_ms=NOW_MS - 401 * day_ms),
        event(4, pin_id="shown", event_type="impression", event_time_ms=NOW_MS - 10),
    ]
    await stores.sequences.append(ROUTING.route(envelope(events), NOW_MS))
    record = await stores.users.read(HOME)
    assert record.seen_pin_ids == ("shown", "hidden", "saved")
    assert record.blocked_pin_ids == ("hidden",)
    assert record.version > 0


async def test_lists_of_pins_are_bounded(stores: Stores) -> None:
    pins = tuple(f"pin-{n}" for n in range(MAX_PINS + 10))
    await stores.users.mark_served([serving(pins[:10], NOW_MS - 900), serving(pins[10:], NOW_MS - 800)])
    seen = (await stores.users.read(HOME)).seen_pin_ids
    assert len(seen) == MAX_PINS
    assert set(seen) == set(pins[10:])


async def test_the_newest_vector_of_each_encoder_stays(stores: Stores) -> None:
    await stores.users.put_vectors([vector(2, 20), vector(1, 10), vector(5, 5, "other")])
    record = await stores.users.read(HOME)
    found = {
        each.encoder: (each.encoder_version, each.vector.tolist(), each.computed_time_ms) for each in record.vectors
    }
    assert found == {"two_tower": ("v2", [2.0] * 4, 20), "other": ("v5", [5.0] * 4, 5)}
    await stores.users.forget_vectors(["user-1", "nobody"])
    assert (await stores.users.read(HOME)).vectors == ()


async def test_the_locale_of_a_feed_becomes_the_profile(stores: Stores) -> None:
    await stores.users.mark_served([serving((), NOW_MS, locale="de-DE"), serving(("a",), NOW_MS)])
    assert dict((await stores.users.read(HOME)).profile) == {"locale": "de-DE"}
