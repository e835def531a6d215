"""Reads the attributes of one event by its type's schema; the door and the engine share it."""

import json
import math
from typing import Any

from chassis.errors import Invalid
from sequences.definitions.event_type import Attribute, EventType

MAX_ATTRIBUTES_BYTES = 8 * 1024
INT64_LIMIT = 2**63
FLOAT32_MAX = 3.4028234663852886e38
EMPTY = (b"", b"{}")


def parse_attributes(event_type: EventType, content: bytes) -> dict[str, Any]:
    """The attributes that the schema knows, checked. Raises: Invalid with field "attributes.<name>" and a code."""
    given = _object(content)
    parsed: dict[str, Any] = {}
    for attribute in event_type.attributes:
        value = given.get(attribute.name)
        if value is not None:
            parsed[attribute.name] = _checked(attribute, value)
        elif attribute.is_required:
            raise _fault(attribute.name, f"is required for {event_type.name}", "missing_field")
    return parsed


def check_known(event_type: EventType, content: bytes) -> None:
    """Refuse attributes that the schema does not name. Raises: Invalid."""
    known = {attribute.name for attribute in event_type.attributes}
    for name in _object(content):
        if name not in known:
            raise _fault(name, f"is not an attribute of {event_type.name}", "invalid_field")


def _object(content: bytes) -> dict[str, Any]:
    if content in EMPTY:
        return {}
    if len(content) > MAX_ATTRIBUTES_BYTES:
        raise Invalid(
            f"attributes have {len(content)} bytes, at most {MAX_ATTRIBUTES_BYTES} are allowed",
            field="attributes_json",
            reason="too_large",
        )
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"attributes are no JSON: {error}", field="attributes_json", reason="invalid_field") from error
    if not isinstance(value, dict):
        raise Invalid("attributes must be a JSON object", field="attributes_json", reason="invalid_field")
    return value


def _checked(attribute: Attribute, value: Any) -> Any:
    if attribute.type == "string":
        return _string(attribute, value)
    if attribute.type == "bool":
        if not isinstance(value, bool):
            raise _fault(attribute.name, "must be true or false", "invalid_field")
        return value
    return _number(attribute, value)


def _string(attribute: Attribute, value: Any) -> str:
    if not isinstance(value, str):
        raise _fault(attribute.name, "must be a string", "invalid_field")
    if len(value) > attribute.max_length:
        raise _fault(attribute.name, f"has more than {attribute.max_length} characters", "too_large")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a lone surrogate is legal JSON, but no text
        raise _fault(attribute.name, "is not valid Unicode", "invalid_field") from error
    return value


def _number(attribute: Attribute, value: Any) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if attribute.type == "int64":
        if not is_number or isinstance(value, float) or not -INT64_LIMIT <= value < INT64_LIMIT:
            raise _fault(attribute.name, "must be a whole number of 64 bits", "invalid_field")
    elif not is_number or not _is_finite(value, attribute.type):
        raise _fault(attribute.name, f"must be a finite {attribute.type}", "invalid_field")
    if attribute.minimum is not None and value < attribute.minimum:
        raise _fault(attribute.name, f"is {value}, below {attribute.minimum:g}", "invalid_field")
    if attribute.maximum is not None and value > attribute.maximum:
        raise _fault(attribute.name, f"is {value}, above {attribute.maximum:g}", "invalid_field")
    number: int | float = value
    return number


def _is_finite(value: int | float, kind: str) -> bool:
    try:
        number = float(value)
    except OverflowError:
        return False
    return math.isfinite(number) and (kind != "float32" or abs(number) <= FLOAT32_MAX)


def _fault(name: str, what: str, code: str) -> Invalid:
    return Invalid(f"attribute {name[:64]!r} {what}", field=f"attributes.{name[:64]}", reason=code)
