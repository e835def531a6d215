"""Page tokens: a cursor that only this service can write, for one person, one surface and a few minutes.

Layout before base64url: version, expiry (epoch s), page, position, seed, session id, owner hash, tail, shown pins, MAC.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable

from chassis.clock import Clock
from chassis.errors import Invalid
from services.blender.domain.cursor import Cursor
from services.blender.domain.feed_request import FeedRequest

VERSION = 1
MAC_BYTES = 16  # 128 bits: as good as the key against guessing
OWNER_BYTES = 8
FINGERPRINT_BYTES = 3
MAX_TOKEN_CHARS = 8_192  # above the longest one we make: 16 tail pins of 128 characters and 500 shown pins
_HEAD = struct.Struct(">BIHII8s8sB")
FIELD = "page_token"


class PageTokens:
    """Writes and reads tokens; `key` is shared by every replica that shall understand them."""

    def __init__(self, key: bytes, ttl_s: int, clock: Clock) -> None:
        self._key, self._ttl_s, self._clock = key, ttl_s, clock

    def write(self, cursor: Cursor, request: FeedRequest) -> str:
        """The token that continues at `cursor`."""
        expires_s = self._clock.now_ms() // 1_000 + self._ttl_s
        head = _HEAD.pack(
            VERSION,
            expires_s,
            cursor.page,
            cursor.position,
            cursor.seed,
            bytes.fromhex(cursor.session_id),
            _owner(request),
            len(cursor.tail),
        )
        body = head + _pack_tail(cursor.tail) + _pack_shown(cursor.shown)
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def read(self, token: str, request: FeedRequest) -> Cursor:
        """Where the token continues.

        Raises: Invalid with reason page_token_malformed, page_token_forged, page_token_expired or page_token_foreign.
        """
        raw = _decode(token)
        body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _refused("forged", "page token was not made by this service or was changed")
        return self._open(body, request)

    def _open(self, body: bytes, request: FeedRequest) -> Cursor:
        version, expires_s, page, position, seed, session_id, owner, num_tail = _HEAD.unpack_from(body)
        if version != VERSION:
            raise _refused("malformed", f"page token has version {version}, this service reads {VERSION}")
        now_s = self._clock.now_ms() // 1_000
        if now_s >= expires_s:
            raise _refused("expired", f"page token expired {now_s - expires_s} s ago, ask for the first page again")
        if owner != _owner(request):
            raise _refused("foreign", "page token belongs to another user, surface, subject or query")
        tail, end = _unpack_tail(body, num_tail)
        return Cursor(session_id.hex(), page, position, seed, tail, _unpack_shown(body[end:]))

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:MAC_BYTES]


def _decode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("malformed", f"page token has {len(token)} characters, at most {MAX_TOKEN_CHARS}")
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _refused("malformed", "page token is not base64url") from error
    if len(raw) < _HEAD.size + MAC_BYTES:
        raise _refused("malformed", f"page token has {len(raw)} bytes, too few")
    return raw


def _owner(request: FeedRequest) -> bytes:
    parts = (request.user_id, request.surface, request.subject_pin_id, request.query)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=OWNER_BYTES).digest()


def _pack_tail(tail: Iterable[str]) -> bytes:
    encoded = (pin_id.encode() for pin_id in tail)
    return b"".join(struct.pack(">H", len(each)) + each for each in encoded)


def _unpack_tail(body: bytes, num_tail: int) -> tuple[tuple[str, ...], int]:
    tail, at = [], _HEAD.size
    for _ in range(num_tail):
        (length,) = struct.unpack_from(">H", body, at)
        tail.append(body[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return tuple(tail), at


def _pack_shown(shown: Iterable[int]) -> bytes:
    return b"".join(each.to_bytes(FINGERPRINT_BYTES, "big") for each in sorted(shown))


def _unpack_shown(packed: bytes) -> frozenset[int]:
    starts = range(0, len(packed), FINGERPRINT_BYTES)
    return frozenset(int.from_bytes(packed[at : at + FINGERPRINT_BYTES], "big") for at in starts)


def _refused(how: str, message: str) -> Invalid:
    return Invalid(message, field=FIELD, reason=f"page_token_{how}")
