"""Page tokens: only ours, only now, only for the one who got it."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid
from chassis.testing import FakeClock
from services.blender.domain.cursor import Cursor, advance, fingerprint
from services.blender.domain.feed_request import FeedRequest
from services.blender.inbound.page_tokens import PageTokens
from services.blender.tests.running_blender import RunningBlender

ANN = FeedRequest("ann", "home", 25)
CURSOR = Cursor("0123456789abcdef", 1, 25, 77, ("pin-1", "пин-2"), frozenset({1, 2, 70_000}))


def tokens(clock: FakeClock | None = None, key: bytes = b"key") -> PageTokens:
    return PageTokens(key, ttl_s=60, clock=clock or FakeClock())


def reason_of_reading(reader: PageTokens, token: str, request: FeedRequest = ANN) -> str:
    with pytest.raises(Invalid) as caught:
        reader.read(token, request)
    assert caught.value.field == "page_token"
    return caught.value.reason


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 65_535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.text(max_size=20), max_size=16),
    st.frozensets(st.integers(0, 2**24 - 1), max_size=300),
)
def test_what_is_written_is_read(page: int, position: int, seed: int, tail: list[str], shown: frozenset[int]) -> None:
    cursor = Cursor("00ff00ff00ff00ff", page, position, seed, tuple(tail), shown)
    assert tokens().read(tokens().write(cursor, ANN), ANN) == cursor


def test_a_typical_token_is_short() -> None:
    cursor = advance(Cursor("0" * 16, 0, 0, 1), [f"pin-{n:08d}" for n in range(25)])
    assert len(tokens().write(cursor, ANN)) < 512


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(tokens().write(CURSOR, ANN) + "=="))
    raw[place % len(raw)] ^= change
    assert reason_of_reading(tokens(), base64.urlsafe_b64encode(bytes(raw)).decode()) == "page_token_forged"


def test_a_token_of_another_key_is_forged() -> None:
    assert reason_of_reading(tokens(key=b"other"), tokens().write(CURSOR, ANN)) == "page_token_forged"


def test_an_old_token_is_expired() -> None:
    clock = FakeClock()
    token = tokens(clock).write(CURSOR, ANN)
    clock.advance(59)
    assert tokens(clock).read(token, ANN) == CURSOR
    clock.advance(2)
    assert reason_of_reading(tokens(clock), token) == "page_token_expired"


@pytest.mark.parametrize(
    "other",
    [
        FeedRequest("bob", "home", 25),
        FeedRequest("ann", "search", 25),
        FeedRequest("ann", "home", 25, query="q"),
        FeedRequest("ann", "home", 25, subject_pin_id="pin-9"),
    ],
)
def test_the_token_of_somebody_else_is_foreign(other: FeedRequest) -> None:
    assert reason_of_reading(tokens(), tokens().write(CURSOR, ANN), other) == "page_token_foreign"


@pytest.mark.parametrize("token", ["!", "ä", "A", "AAAA", "A" * 9_000, "\x00"])
def test_what_is_no_token_is_malformed(token: str) -> None:
    assert reason_of_reading(tokens(), token) == "page_token_malformed"


def test_the_page_size_may_change_between_pages() -> None:
    assert tokens().read(tokens().write(CURSOR, ANN), FeedRequest("ann", "home", 3, locale="de")) == CURSOR


def test_a_cursor_remembers_what_was_shown() -> None:
    cursor = advance(Cursor("0" * 16, 0, 0, 1), [f"pin-{n}" for n in range(25)])
    assert (cursor.page, cursor.position, cursor.tail[-1], len(cursor.tail)) == (1, 25, "pin-24", 16)
    assert cursor.shown == {fingerprint(f"pin-{n}") for n in range(25)}
    for _ in range(30):
        cursor = advance(cursor, [f"pin-{cursor.position + n}" for n in range(25)])
    assert len(cursor.shown) <= 500 and fingerprint(cursor.tail[-1]) in cursor.shown


async def test_reasons_reach_the_caller(blender: RunningBlender) -> None:
    token = (await blender.feed()).next_page_token
    refusals: tuple[tuple[dict[str, Any], str], ...] = (
        ({"user_id": "bob"}, "foreign"),
        ({"surface": "search", "query": "x"}, "foreign"),
        ({"page_token": token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")}, "forged"),
        ({"page_token": "x"}, "malformed"),
    )
    for fields, reason in refusals:
        with pytest.raises(Invalid) as caught:
            await blender.feed(**{"page_token": token, **fields})
        assert caught.value.reason == f"page_token_{reason}"
