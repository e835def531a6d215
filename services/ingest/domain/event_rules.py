"""Which events may enter: the rules of their type's definition, and bounds on time."""

from dataclasses import replace

from chassis.errors import Invalid
from sequences.definitions.attributes import check_known, parse_attributes
from sequences.definitions.definitions import Definitions
from services.ingest.domain.event import Event
from services.ingest.domain.texts import normalise_id

MAX_FUTURE_MS = 5 * 60_000  # clocks of devices are off by minutes, not more
MAX_SURFACE_LENGTH = 64
MAX_TRACKED_ID_LENGTH = 128


def normalise_event(event: Event) -> Event:
    """Ids as they are compared. Raises: Invalid naming the field, with the verdict's code as reason."""
    return replace(
        event,
        event_id=normalise_id("event_id", event.event_id),
        user_id=normalise_id("user_id", event.user_id),
        pin_id=normalise_id("pin_id", event.pin_id, is_required=False),
        request_id=normalise_id("request_id", event.request_id, is_required=False, max_length=MAX_TRACKED_ID_LENGTH),
        surface=normalise_id("surface", event.surface, is_required=False, max_length=MAX_SURFACE_LENGTH),
    )


def check_event(event: Event, definitions: Definitions, now_ms: int) -> None:
    """Raises: Invalid naming the field, with the verdict's code as reason."""
    event_type = definitions.events.get(event.event_type)
    if event_type is None:
        raise Invalid(
            f"event type {event.event_type[:64]!r} is not defined", field="event_type", reason="unknown_event_type"
        )
    if event_type.needs_pin and not event.pin_id:
        raise Invalid(f"pin_id must be set for {event_type.name}", field="pin_id", reason="missing_field")
    _check_time(event.event_time_ms, event_type.retention_ms, now_ms)
    check_known(event_type, event.attributes)
    parse_attributes(event_type, event.attributes)


def _check_time(time_ms: int, retention_ms: int, now_ms: int) -> None:
    if time_ms <= 0:
        raise Invalid("event_time_ms must be set", field="event_time_ms", reason="missing_field")
    if time_ms > now_ms + MAX_FUTURE_MS:
        raise Invalid(
            f"event_time_ms is {time_ms - now_ms} ms in the future, at most {MAX_FUTURE_MS} are allowed",
            field="event_time_ms",
            reason="in_future",
        )
    if time_ms < now_ms - retention_ms:
        raise Invalid(
            f"event_time_ms is {now_ms - time_ms} ms ago, the type keeps {retention_ms}",
            field="event_time_ms",
            reason="too_old",
        )
