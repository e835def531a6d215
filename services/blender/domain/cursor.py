"""Where in a session the next page begins, and what survives when the session itself is lost."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

FINGERPRINT_BITS = 24  # of a shown pin: one chance in 30,000 to hide an unseen pin among 500 shown
MAX_TAIL = 16  # pins; covers diversity windows to 17 and spacing windows to 16
MAX_FINGERPRINTS = 500  # shown pins; 1.5 kB, the largest pool but a few


@dataclass(frozen=True)
class Cursor:
    """Travels with the client in a signed token.

    `tail` are the pins placed last, oldest first; `shown` fingerprints of all pins shown in this session.
    """

    session_id: str
    page: int  # 0-based page that comes next
    position: int  # first position of that page
    seed: int
    tail: tuple[str, ...] = ()
    shown: frozenset[int] = frozenset()


def fingerprint(pin_id: str) -> int:
    """A short hash of a pin id."""
    return zlib.crc32(pin_id.encode()) & ((1 << FINGERPRINT_BITS) - 1)


def advance(cursor: Cursor, placed: Iterable[str]) -> Cursor:
    """The cursor after one more page of these pins."""
    pin_ids = list(placed)
    shown = cursor.shown | {fingerprint(pin_id) for pin_id in pin_ids}
    if len(shown) > MAX_FINGERPRINTS:
        shown = frozenset(fingerprint(pin_id) for pin_id in pin_ids)
    return Cursor(
        session_id=cursor.session_id,
        page=cursor.page + 1,
        position=cursor.position + len(pin_ids),
        seed=cursor.seed,
        tail=(*cursor.tail, *pin_ids)[-MAX_TAIL:],
        shown=shown,
    )
