"""Ids and short texts as they may enter."""

import re
import unicodedata

from chassis.errors import Invalid

MAX_ID_LENGTH = 128
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")


def normalise_id(field: str, value: str, *, is_required: bool = True, max_length: int = MAX_ID_LENGTH) -> str:
    """Without surrounding spaces, in Unicode NFC. Raises: Invalid with the code of the verdict as reason."""
    text = unicodedata.normalize("NFC", value.strip())
    if not text and is_required:
        raise Invalid(f"{field} must be set", field=field, reason="missing_field")
    check_length(field, text, max_length)
    if CONTROL.search(text):
        raise Invalid(f"{field} has control characters", field=field, reason="invalid_field")
    return text


def check_length(field: str, text: str, max_length: int) -> None:
    """Raises: Invalid when the text has more characters."""
    if len(text) > max_length:
        raise Invalid(
            f"{field} has {len(text)} characters, at most {max_length} are allowed", field=field, reason="too_large"
        )


def check_locale(field: str, text: str) -> None:
    """Raises: Invalid unless empty or shaped like a BCP 47 tag."""
    if text and not LOCALE.fullmatch(text):
        raise Invalid(f"{field} {text[:32]!r} is no language tag such as en-US", field=field, reason="invalid_field")
