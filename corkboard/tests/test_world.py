"""The seeded world: the same for the same seed, of the size asked for, and plausible."""

import json
from collections import Counter
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest

from corkboard.world import pictures
from corkboard.world.past import ACTIONS, BOT_SHARE, Session, in_order_of_arrival, make_past, person_id
from corkboard.world.pins import DUPLICATE_SHARE, RISKY_SHARE, advertiser_id, make_pins, pin_id
from corkboard.world.reactions import MISSING_DWELL_SHARE
from corkboard.world.shopping import Shop, make_shop
from corkboard.world.truth import DAY_MS, DIMENSION, Truth, WorldSize, make_truth
from corkboard.world.vocabulary import TOPICS
from protos.ingest.v1 import ingest_pb2
from protos.pins.v1 import pins_pb2

NOW_MS = 1_800_000_000_000
SIZE = WorldSize(num_pins=600, num_people=120, num_days=14, num_sessions_per_person=6)
TINY = replace(SIZE, num_pins=130, num_people=10, num_sessions_per_person=3)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return make_truth(SIZE)


@pytest.fixture(scope="module")
def pins(truth: Truth) -> list[pins_pb2.Pin]:
    return list(make_pins(SIZE, truth, NOW_MS))


@pytest.fixture(scope="module")
def past(truth: Truth) -> list[Session]:
    return list(make_past(SIZE, truth, NOW_MS))


@pytest.fixture(scope="module")
def events(past: list[Session]) -> list[ingest_pb2.Event]:
    return [event for session in past for event in session.events]


def is_bot(user: str) -> bool:
    return user in {person_id(index) for index in range(max(1, int(SIZE.num_people * BOT_SHARE)))}


def made(size: WorldSize) -> list[bytes]:
    truth = make_truth(size)
    pins = [pin.SerializeToString(deterministic=True) for pin in make_pins(size, truth, NOW_MS)]
    past = list(make_past(size, truth, NOW_MS))
    feeds = [session.feed.SerializeToString(deterministic=True) for session in past]
    return pins + feeds + [event.SerializeToString() for session in past for event in session.events]


def test_the_same_seed_makes_the_same_world() -> None:
    assert made(TINY) == made(TINY)


def test_another_seed_makes_another_world() -> None:
    assert made(TINY) != made(replace(TINY, seed=TINY.seed + 1))


def test_the_world_has_the_size_asked_for(pins: list[pins_pb2.Pin], past: list[Session]) -> None:
    assert [pin.pin_id for pin in pins] == [pin_id(index) for index in range(SIZE.num_pins)]
    sessions = Counter(session.feed.user_id for session in past)
    assert sessions == {person_id(index): SIZE.num_sessions_per_person for index in range(SIZE.num_people)}
    for session in past:
        shown = [candidate.pin_id for candidate in session.feed.candidates]
        assert len(shown) == SIZE.num_pins_per_session == len(set(shown))


def test_every_pin_is_whole(pins: list[pins_pb2.Pin]) -> None:
    for pin in pins:
        assert pin.title and pin.description and "{" not in pin.title + pin.description
        assert 1 <= len(pin.topics) <= 2 and set(pin.topics) <= set(TOPICS)
        assert urlsplit(pin.link).scheme == "https" and pin.image.startswith(b"\x89PNG")
        vector = np.frombuffer(pin.given_vector.data, "<f4")
        assert vector.shape == (DIMENSION,) and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        assert pin.created_time_ms <= NOW_MS


def test_what_is_shown_exists_by_then_and_half_was_there_when_the_past_began(
    pins: list[pins_pb2.Pin], past: list[Session]
) -> None:
    created_ms = {pin.pin_id: pin.created_time_ms for pin in pins}
    for session in past:
        assert all(created_ms[each.pin_id] <= session.feed.served_time_ms for each in session.feed.candidates)
    began_ms = NOW_MS - SIZE.num_days * DAY_MS
    assert 0.4 < np.mean([pin.created_time_ms < began_ms for pin in pins]) < 0.6


def test_awkward_pins_are_there_in_their_share(pins: list[pins_pb2.Pin]) -> None:
    ads = [pin for pin in pins if pin.advertiser_id]
    copies = [pin for pin in pins if "utm_source=copy" in pin.link]
    risky = [pin for pin in pins if pin.safety_labels]
    for found, share in ((ads, SIZE.ad_share), (copies, DUPLICATE_SHARE), (risky, RISKY_SHARE)):
        assert 0.3 * share < len(found) / len(pins) < 2.5 * share
    assert all(pin.price_micros > 0 for pin in ads)
    links = {pin.link for pin in pins}
    assert all(pin.link.removesuffix("&utm_source=copy") in links for pin in copies)


def test_pins_of_a_topic_lie_together(truth: Truth) -> None:
    alike = truth.vectors_PD @ truth.vectors_PD.T
    same = truth.topic_of_P[:, None] == truth.topic_of_P[None, :]
    np.fill_diagonal(same, False)
    assert alike[same].mean() > 0.5 > 0.2 > abs(alike[~same].mean())


def test_tastes_drift_from_one_end_to_the_other(truth: Truth) -> None:
    np.testing.assert_allclose(truth.taste_at(3, 0.0), truth.tastes_UD[3], atol=1e-5)
    np.testing.assert_allclose(truth.taste_at(3, 1.0), truth.drifted_tastes_UD[3], atol=1e-5)
    assert np.linalg.norm(truth.taste_at(3, 0.5)) == pytest.approx(1.0, abs=1e-5)


def test_the_past_lies_in_the_past_in_order(past: list[Session], events: list[ingest_pb2.Event]) -> None:
    times = [session.feed.served_time_ms for session in past]
    assert times == sorted(times)
    assert NOW_MS - (SIZE.num_days + 1) * DAY_MS < times[0] and max(event.event_time_ms for event in events) < NOW_MS


def test_events_are_unique_and_belong_to_what_was_shown(past: list[Session], events: list[ingest_pb2.Event]) -> None:
    assert len({event.event_id for event in events}) == len(events)
    for session in past:
        shown = {candidate.pin_id for candidate in session.feed.candidates}
        for event in session.events:
            assert event.pin_id in shown and event.event_type in ACTIONS
            assert (event.user_id, event.request_id) == (session.feed.user_id, session.feed.request_id)
            assert event.event_time_ms > session.feed.served_time_ms


def test_people_act_about_as_often_as_people_do(past: list[Session], events: list[ingest_pb2.Event]) -> None:
    num_shown = sum(len(session.feed.candidates) for session in past if not is_bot(session.feed.user_id))
    rates = Counter(event.event_type for event in events if not is_bot(event.user_id))
    rate = {action: rates[action] / num_shown for action in ACTIONS}
    assert 0.03 < rate["click"] < 0.5
    assert 0.005 < rate["save"] < rate["click"]
    assert 0.001 < rate["long_view"] < rate["click"]
    assert 0 < rate["conversion"] < 0.01 and 0 < rate["share"] < 0.02
    assert 0.001 < rate["hide"] < 0.2


def test_people_act_on_what_they_like(truth: Truth, events: list[ingest_pb2.Event]) -> None:
    def liking(action: str) -> float:
        found = [event for event in events if event.event_type == action and not is_bot(event.user_id)]
        pairs = [(int(event.user_id.split("-")[1]), int(event.pin_id.split("-")[1])) for event in found]
        return float(np.mean([truth.affinity(person, np.array([pin]), 0.5)[0] for person, pin in pairs]))

    assert liking("save") > liking("click") > liking("hide")


def test_bots_click_on_all_and_do_nothing_else(past: list[Session]) -> None:
    bots = [session for session in past if is_bot(session.feed.user_id)]
    assert bots
    for session in bots:
        assert [event.event_type for event in session.events] == ["click"] * SIZE.num_pins_per_session


def test_conversions_come_late_and_are_worth_something(past: list[Session], events: list[ingest_pb2.Event]) -> None:
    served = {session.feed.request_id: session.feed for session in past}
    clicked = {(event.request_id, event.pin_id): event.event_time_ms for event in events if event.event_type == "click"}
    conversions = [event for event in events if event.event_type == "conversion"]
    delays = [event.event_time_ms - clicked[event.request_id, event.pin_id] for event in conversions]
    assert conversions and min(delays) >= 0 and max(delays) > 60_000 and max(delays) <= 120_000
    assert all(json.loads(event.attributes_json)["value_micros"] > 0 for event in conversions)
    assert all(event.request_id in served for event in conversions)


def test_clicks_and_long_views_carry_a_dwell_time_and_some_clicks_lack_it(events: list[ingest_pb2.Event]) -> None:
    clicks = [json.loads(e.attributes_json) for e in events if e.event_type == "click" and not is_bot(e.user_id)]
    share = sum("dwell_s" not in each for each in clicks) / len(clicks)
    assert 0.5 * MISSING_DWELL_SHARE < share < 2 * MISSING_DWELL_SHARE
    for event in events:
        attributes = json.loads(event.attributes_json)
        assert "dwell_s" not in attributes or event.event_type in ("click", "long_view")
        assert event.event_type != "long_view" or attributes["dwell_s"] >= 10.0


@pytest.fixture(scope="module")
def shop(truth: Truth) -> Shop:
    return make_shop(SIZE, truth)


def test_only_ads_are_bought_and_every_session_shows_some(shop: Shop, past: list[Session]) -> None:
    ads = {pin_id(int(pin)) for pin in shop.ads}
    for session in past:
        assert len(ads & {c.pin_id for c in session.feed.candidates}) == SIZE.num_ads_per_session
        assert all(event.pin_id in ads for event in session.events if event.event_type == "conversion")


def test_ads_are_what_the_shop_says(shop: Shop, pins: list[pins_pb2.Pin]) -> None:
    for index, pin in enumerate(pins):
        advertiser = int(shop.advertiser_P[index])
        assert pin.advertiser_id == (advertiser_id(advertiser) if advertiser >= 0 else "")
        assert pin.price_micros == int(shop.price_P[index] * 1e6)


def test_people_buy_what_they_want_and_click_what_they_like(truth: Truth, shop: Shop) -> None:
    """Among clicked ads the bought ones are wanted more, and clicks follow liking: two different things."""
    shown: dict[str, list[tuple[float, float]]] = {"click": [], "conversion": [], "": []}
    for session in make_past(replace(SIZE, num_sessions_per_person=20), truth, NOW_MS):
        person, bought_or_clicked = int(session.feed.user_id.split("-")[1]), ("click", "conversion")
        if is_bot(session.feed.user_id):
            continue
        done = {(event.pin_id, event.event_type) for event in session.events}
        numbers = np.array([int(candidate.pin_id.split("-")[1]) for candidate in session.feed.candidates])
        numbers = numbers[shop.advertiser_P[numbers] >= 0]
        traits = list(zip(shop.wanting(person, numbers), truth.affinity(person, numbers, 0.5), strict=True))
        for number, pair in zip(numbers.tolist(), traits, strict=True):
            actions = [action for action in bought_or_clicked if (pin_id(number), action) in done]
            for action in actions or [""]:
                shown[action].append(pair)
    wanting, liking = ({name: float(np.mean(pairs, axis=0)[at]) for name, pairs in shown.items()} for at in (0, 1))
    assert wanting["conversion"] > wanting["click"] + 0.4
    assert abs(liking["conversion"] - liking["click"]) < 0.1
    assert liking["click"] > liking[""] + 0.05
    everything = np.arange(SIZE.num_pins)[shop.advertiser_P >= 0]
    per_person = [
        np.corrcoef(shop.wanting(person, everything), truth.affinity(person, everything, 0.0))[0, 1]
        for person in range(SIZE.num_people)
    ]
    assert 0.05 < float(np.mean(per_person)) < 0.6, "related, far from the same"


def test_a_picture_is_the_same_for_the_same_seed() -> None:
    assert pictures.draw(3, 24, 5) == pictures.draw(3, 24, 5) != pictures.draw(3, 24, 6)


@pytest.mark.parametrize("num_pins", [50, 119, 120])
def test_the_smallest_worlds_that_can_be_asked_for_have_a_past(num_pins: int) -> None:
    size = replace(TINY, num_pins=num_pins, num_people=5)
    assert list(make_past(size, make_truth(size), NOW_MS))


def test_a_few_events_arrive_hours_late_and_none_is_lost() -> None:
    size = WorldSize(num_pins=200, num_people=20, num_sessions_per_person=20)
    past = list(make_past(size, make_truth(size), NOW_MS))
    events = [event for one in past for event in one.events]
    arrived = in_order_of_arrival(events, size.seed)
    newest_ms, num_late = 0, 0
    for event in arrived:
        num_late += event.event_time_ms < newest_ms - 600_000
        newest_ms = max(newest_ms, event.event_time_ms)
    assert 0 < num_late < len(events) * 0.05
    assert sorted(e.event_id for e in arrived) == sorted(e.event_id for e in events)
