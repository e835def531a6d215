"""Which events may enter."""

from dataclasses import replace

import pytest

from chassis.errors import Invalid
from sequences.definitions.testing import repository_definitions
from services.ingest.domain.event import Event
from services.ingest.domain.event_rules import MAX_FUTURE_MS, check_event, normalise_event

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
GOOD = Event("e-1", "u-1", "click", NOW_MS, "p-1")


def fault(event: Event) -> tuple[str, str]:
    with pytest.raises(Invalid) as error:
        check_event(normalise_event(event), repository_definitions(), NOW_MS)
    return error.value.reason, error.value.field


def test_a_good_event_passes() -> None:
    check_event(GOOD, repository_definitions(), NOW_MS)
    check_event(
        replace(GOOD, event_type="search", pin_id="", attributes=b'{"query":"a"}'), repository_definitions(), NOW_MS
    )


def test_ids_are_normalised() -> None:
    event = normalise_event(replace(GOOD, user_id="  u\u0065\u0301 "))
    assert event.user_id == "u\u00e9"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"event_id": " "}, "missing_field", "event_id"),
        ({"user_id": ""}, "missing_field", "user_id"),
        ({"user_id": "u" * 129}, "too_large", "user_id"),
        ({"user_id": "u\n1"}, "invalid_field", "user_id"),
        ({"pin_id": ""}, "missing_field", "pin_id"),
        ({"event_type": "teleport"}, "unknown_event_type", "event_type"),
        ({"event_time_ms": 0}, "missing_field", "event_time_ms"),
        ({"event_time_ms": NOW_MS + MAX_FUTURE_MS + 1}, "in_future", "event_time_ms"),
        ({"event_time_ms": NOW_MS - 366 * DAY_MS}, "too_old", "event_time_ms"),
        ({"attributes": b"[]"}, "invalid_field", "attributes_json"),
        ({"attributes": b"{"}, "invalid_field", "attributes_json"),
        ({"attributes": b"[" * 5000}, "invalid_field", "attributes_json"),
        ({"attributes": b" " * 9000}, "too_large", "attributes_json"),
        ({"attributes": b'{"mood":1}'}, "invalid_field", "attributes.mood"),
        ({"event_type": "long_view"}, "missing_field", "attributes.dwell_s"),
        ({"event_type": "long_view", "attributes": b'{"dwell_s":-1}'}, "invalid_field", "attributes.dwell_s"),
        ({"event_type": "long_view", "attributes": b'{"dwell_s":NaN}'}, "invalid_field", "attributes.dwell_s"),
        ({"event_type": "long_view", "attributes": b'{"dwell_s":true}'}, "invalid_field", "attributes.dwell_s"),
        (
            {"event_type": "conversion", "attributes": b'{"value_micros":1.5}'},
            "invalid_field",
            "attributes.value_micros",
        ),
        ({"event_type": "search", "attributes": b'{"query":"\\ud800"}'}, "invalid_field", "attributes.query"),
        ({"event_type": "search", "attributes": b'{"query":"' + b"a" * 513 + b'"}'}, "too_large", "attributes.query"),
    ],
)
def test_a_bad_event_is_rejected_by_code_and_field(changes: dict[str, object], code: str, field: str) -> None:
    assert fault(replace(GOOD, **changes)) == (code, field)  # type: ignore[arg-type]


def test_times_at_the_bounds_pass() -> None:
    for time_ms in (NOW_MS + MAX_FUTURE_MS, NOW_MS - 365 * DAY_MS):
        check_event(replace(GOOD, event_time_ms=time_ms), repository_definitions(), NOW_MS)
