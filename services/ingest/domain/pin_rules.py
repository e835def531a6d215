"""Which pins may enter, and what ingest fills in."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from services.ingest.domain.event_rules import MAX_FUTURE_MS
from services.ingest.domain.pin import Pin
from services.ingest.domain.texts import check_length, check_locale, normalise_id
from services.ingest.domain.urls import normalise_url

MAX_TITLE_LENGTH = 500
MAX_DESCRIPTION_LENGTH = 5_000
MAX_IMAGE_BYTES = 256 * 1024
MAX_TOPICS = 20
MAX_LABELS = 20
MAX_QUALITY_SIGNALS = 20
MAX_NAME_LENGTH = 64


def accept_pin(pin: Pin, now_ms: int, vector_width: int | None) -> Pin:
    """The pin as it is stored: ids and URLs normalised, content group and times filled in.

    `vector_width` is what the active encoder makes; None = any. Of a delete only the id counts.
    Raises: Invalid naming the field, with the verdict's code as reason.
    """
    pin_id = normalise_id("pin_id", pin.pin_id)
    if pin.is_deleted:
        return Pin(pin_id=pin_id, is_deleted=True)
    _check_texts(pin)
    _check_numbers(pin, now_ms)
    if pin.given_vector is not None:
        _check_vector(pin.given_vector, vector_width)
    link = normalise_url("link", pin.link)
    return replace(
        pin,
        pin_id=pin_id,
        link=link,
        content_group=content_group(link),
        published_time_ms=now_ms,
        image_url=normalise_url("image_url", pin.image_url),
        creator_id=normalise_id("creator_id", pin.creator_id, is_required=False),
        advertiser_id=normalise_id("advertiser_id", pin.advertiser_id, is_required=False),
        topics=_names("topics", pin.topics, MAX_TOPICS),
        safety_labels=_names("safety_labels", pin.safety_labels, MAX_LABELS),
        created_time_ms=pin.created_time_ms or now_ms,
    )


def content_group(link: str) -> str:
    """Equal for pins with the same normalised link; "" without one."""
    return "link-" + hashlib.blake2b(link.encode(), digest_size=12).hexdigest() if link else ""


def _check_texts(pin: Pin) -> None:
    check_length("title", pin.title, MAX_TITLE_LENGTH)
    check_length("description", pin.description, MAX_DESCRIPTION_LENGTH)
    check_locale("locale", pin.locale)
    if len(pin.image) > MAX_IMAGE_BYTES:
        raise Invalid(
            f"image has {len(pin.image)} bytes, at most {MAX_IMAGE_BYTES} are allowed",
            field="image",
            reason="too_large",
        )


def _check_numbers(pin: Pin, now_ms: int) -> None:
    if pin.price_micros < 0:
        raise Invalid("price_micros must not be negative", field="price_micros", reason="invalid_field")
    if pin.created_time_ms < 0:
        raise Invalid("created_time_ms must not be negative", field="created_time_ms", reason="invalid_field")
    if pin.created_time_ms > now_ms + MAX_FUTURE_MS:
        raise Invalid("created_time_ms is in the future", field="created_time_ms", reason="in_future")
    if len(pin.quality) > MAX_QUALITY_SIGNALS:
        raise Invalid(f"quality has more than {MAX_QUALITY_SIGNALS} signals", field="quality", reason="too_large")
    for name, value in pin.quality.items():
        check_length("quality", name, MAX_NAME_LENGTH)
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise Invalid(
                f"quality signal {name!r} is {value}, outside of [0, 1]",
                field=f"quality.{name}",
                reason="invalid_field",
            )


def _check_vector(vector: NDArray[np.float32], width: int | None) -> None:
    if vector.ndim != 1 or (width is not None and vector.shape[0] != width):
        raise Invalid(
            f"given_vector has shape {list(vector.shape)}, needed: [{width or 'D'}]",
            field="given_vector",
            reason="invalid_field",
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length) or length == 0.0:
        raise Invalid("given_vector must be finite and not zero", field="given_vector", reason="invalid_field")


def _names(field: str, names: Iterable[str], max_names: int) -> tuple[str, ...]:
    """In order, without repeats."""
    unique = tuple(dict.fromkeys(normalise_id(field, name, max_length=MAX_NAME_LENGTH) for name in names))
    if len(unique) > max_names:
        raise Invalid(
            f"{field} has {len(unique)} entries, at most {max_names} are allowed", field=field, reason="too_large"
        )
    return unique
