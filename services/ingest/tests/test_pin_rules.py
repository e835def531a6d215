"""Which pins may enter, and what is filled in."""

from dataclasses import replace

import numpy as np
import pytest

from chassis.errors import Invalid
from services.ingest.domain.pin import Pin
from services.ingest.domain.pin_rules import accept_pin

NOW_MS = 1_800_000_000_000
GOOD = Pin("p-1", title="Chair", link="https://Shop.example/chair?utm_source=a", topics=("art", "home", "art"))


def test_a_good_pin_is_completed() -> None:
    pin = accept_pin(GOOD, NOW_MS, 4)
    assert pin.link == "https://shop.example/chair"
    assert pin.content_group.startswith("link-")
    assert (pin.published_time_ms, pin.created_time_ms) == (NOW_MS, NOW_MS)
    assert pin.topics == ("art", "home")


def test_of_a_delete_only_the_id_counts() -> None:
    assert accept_pin(replace(GOOD, is_deleted=True, title="x" * 9999), NOW_MS, 4) == Pin("p-1", is_deleted=True)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"pin_id": ""}, "missing_field", "pin_id"),
        ({"title": "x" * 501}, "too_large", "title"),
        ({"description": "x" * 5001}, "too_large", "description"),
        ({"link": "javascript:x"}, "invalid_field", "link"),
        ({"image_url": "file:///etc/passwd"}, "invalid_field", "image_url"),
        ({"image": b"x" * (256 * 1024 + 1)}, "too_large", "image"),
        ({"topics": tuple(str(i) for i in range(21))}, "too_large", "topics"),
        ({"topics": ("",)}, "missing_field", "topics"),
        ({"price_micros": -1}, "invalid_field", "price_micros"),
        ({"created_time_ms": NOW_MS + 600_000}, "in_future", "created_time_ms"),
        ({"locale": "english please"}, "invalid_field", "locale"),
        ({"quality": {"sharp": 1.5}}, "invalid_field", "quality.sharp"),
        ({"quality": {"sharp": float("nan")}}, "invalid_field", "quality.sharp"),
        ({"given_vector": np.ones(3, np.float32)}, "invalid_field", "given_vector"),
        ({"given_vector": np.zeros(4, np.float32)}, "invalid_field", "given_vector"),
        ({"given_vector": np.full(4, np.nan, np.float32)}, "invalid_field", "given_vector"),
    ],
)
def test_a_bad_pin_is_rejected_by_code_and_field(changes: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(Invalid) as error:
        accept_pin(replace(GOOD, **changes), NOW_MS, 4)  # type: ignore[arg-type]
    assert (error.value.reason, error.value.field) == (code, field)
