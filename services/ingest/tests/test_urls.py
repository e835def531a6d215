"""Equal links become equal bytes; hostile ones are refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Invalid
from services.ingest.domain.pin_rules import content_group
from services.ingest.domain.urls import normalise_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ""),
        ("HTTP://Shop.Example:80", "http://shop.example/"),
        ("https://shop.example.:443/A%2fb?b=2&a=1#top", "https://shop.example/A%2fb?a=1&b=2"),
        ("https://shop.example/p?utm_source=x&id=7&fbclid=z&UTM_Medium=m", "https://shop.example/p?id=7"),
        ("https://shop.example/p?ref=a&id=7", "https://shop.example/p?id=7&ref=a"),
        ("https://shop.example/p?size=2&size=1&a", "https://shop.example/p?a&size=2&size=1"),
        ("https://shop.example/?&&", "https://shop.example/"),
        ("https://shop.example/caf\u00e9 x?q=\u00fc", "https://shop.example/caf%C3%A9%20x?q=%C3%BC"),
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example/"),
        ("https://shop.example/%zz", "https://shop.example/%zz"),
        ("http://[2001:DB8::0:1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_links_are_normalised(url: str, expected: str) -> None:
    assert normalise_url("link", url) == expected
    assert normalise_url("link", expected) == expected


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("javascript:alert(1)", "invalid_field"),
        ("data:text/html,x", "invalid_field"),
        ("//shop.example", "invalid_field"),
        ("ftp://shop.example", "invalid_field"),
        ("shop.example/p", "invalid_field"),
        ("http://", "invalid_field"),
        ("http://user:secret@shop.example/", "invalid_field"),
        ("http://a b.example/", "invalid_field"),
        ("http://shop.example/a\tb", "invalid_field"),
        ("http://shop.example/\nx", "invalid_field"),
        ("http://shop.example\\@evil.example/", "invalid_field"),
        ("http://shop.example:99999/", "invalid_field"),
        ("http://shop.example:x/", "invalid_field"),
        ("http://[::1", "invalid_field"),
        ("http://..example/", "invalid_field"),
        ("http://" + "a" * 300 + ".example/", "invalid_field"),
        ("http://a.example/?" + "x" * 65_536, "too_large"),
        ("http://a.example/?" + "&".join(f"p{i}" for i in range(600)), "too_large"),
    ],
)
def test_hostile_links_are_refused_by_name(url: str, code: str) -> None:
    with pytest.raises(Invalid) as error:
        normalise_url("link", url)
    assert (error.value.field, error.value.reason) == ("link", code)


@given(st.text(max_size=40), st.text(max_size=80))
def test_normalising_twice_changes_nothing(path: str, query: str) -> None:
    try:
        once = normalise_url("link", f"https://shop.example/{path}?{query}")
    except Invalid:
        return
    assert normalise_url("link", once) == once


def test_equal_links_share_a_content_group() -> None:
    first = normalise_url("link", "https://Shop.example/p?b=1&a=2&utm_campaign=x")
    assert content_group(first) == content_group(normalise_url("link", "https://shop.example/p?a=2&b=1#x"))
    assert content_group(first) != content_group(normalise_url("link", "https://shop.example/p?a=2"))
    assert content_group("") == ""


def test_long_hostile_links_take_no_time() -> None:
    started_s = time.perf_counter()
    for url in ("http://" + "a." * 4000, "http://a.example/" + "%" * 8000, "http://a.example/?" + "&=" * 4000):
        try:
            normalise_url("link", url)
        except Invalid as error:
            assert error.field == "link"
    assert time.perf_counter() - started_s < 0.5
