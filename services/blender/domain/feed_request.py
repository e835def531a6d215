"""What a surface asks for, and when it may not."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.errors import Invalid
from sequences.definitions.surface import Surface

MAX_ID_CHARS = 128
MAX_QUERY_CHARS = 512  # longer texts are documents, not queries
MAX_LOCALE_CHARS = 35  # the longest tag that RFC 5646 asks implementations to take
MAX_PAGE_SIZE = 100
DEFAULT_TENANT = "default"


@dataclass(frozen=True)
class FeedRequest:
    """One page asked for; texts are normalised (NFC, no surrounding space)."""

    user_id: str
    surface: str
    page_size: int
    subject_pin_id: str = ""
    query: str = ""
    locale: str = ""
    client: str = ""
    tenant: str = DEFAULT_TENANT
    is_debug: bool = False


def normalise_text(text: str) -> str:
    """NFC without surrounding space, so that equal-looking ids are one person."""
    return unicodedata.normalize("NFC", text).strip()


def check(request: FeedRequest, surfaces: Mapping[str, Surface]) -> Surface:
    """The surface asked for. Raises: Invalid naming the field at fault."""
    _check_id("user_id", request.user_id)
    surface = surfaces.get(request.surface)
    if surface is None:
        known = ", ".join(sorted(surfaces)) or "none yet"
        raise Invalid(
            f"surface {request.surface[:64]!r} is unknown; known: {known}", field="surface", reason="unknown_surface"
        )
    if not 1 <= request.page_size <= MAX_PAGE_SIZE:
        raise Invalid(
            f"page_size is {request.page_size}, must be in 1..{MAX_PAGE_SIZE}", field="page_size", reason="out_of_range"
        )
    _check_subject(request, surface)
    if len(request.locale) > MAX_LOCALE_CHARS:
        raise Invalid(
            f"locale has {len(request.locale)} characters, at most {MAX_LOCALE_CHARS}",
            field="locale",
            reason="too_long",
        )
    if len(request.tenant) > MAX_ID_CHARS or "/" in request.tenant:
        raise Invalid(
            f"tenant {request.tenant[:64]!r} must be at most {MAX_ID_CHARS} characters without /",
            field="tenant",
            reason="bad_tenant",
        )
    return surface


def _check_subject(request: FeedRequest, surface: Surface) -> None:
    if surface.needs_subject and not request.subject_pin_id:
        raise Invalid(f"surface {surface.name} needs a subject_pin_id", field="subject_pin_id", reason="missing")
    if request.subject_pin_id:
        _check_id("subject_pin_id", request.subject_pin_id)
    if surface.needs_query and not request.query:
        raise Invalid(f"surface {surface.name} needs a query", field="query", reason="missing")
    if len(request.query) > MAX_QUERY_CHARS:
        raise Invalid(
            f"query has {len(request.query)} characters, at most {MAX_QUERY_CHARS}", field="query", reason="too_long"
        )


def _check_id(field: str, value: str) -> None:
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise Invalid(
            f"{field} has {len(value)} characters, must have 1..{MAX_ID_CHARS}", field=field, reason="bad_length"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in value):
        raise Invalid(f"{field} contains a control character", field=field, reason="control_character")
