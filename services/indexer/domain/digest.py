"""A digest of sequences that a sender can compute from what it sent."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Event = tuple[int, str, str, str]
"""event_time_ms, event_id, event_type, pin_id."""


@dataclass(frozen=True)
class SequencesDigest:
    """How many users and events, and one sha256 (64 hex digits) over all of them."""

    num_users: int
    num_events: int
    sha256: str


def user_digest(events: Iterable[Event]) -> str:
    """64 hex digits over the events in the order given; another order gives another digest."""
    state = hashlib.sha256()
    for event in events:
        state.update("\x1f".join(map(str, event)).encode() + b"\x1e")
    return state.hexdigest()


def combined(digest_by_user: Mapping[str, str], num_events: int) -> SequencesDigest:
    """One digest over the users in the order of their ids."""
    state = hashlib.sha256()
    for user_id, digest in sorted(digest_by_user.items()):
        state.update(f"{user_id}\x1f{digest}\x1e".encode())
    return SequencesDigest(len(digest_by_user), num_events, state.hexdigest())


def digest_of(events_by_user: Mapping[str, Iterable[Event]]) -> SequencesDigest:
    """The digest of known sequences: users without events do not count; events are put in order here."""
    ordered = {
        user_id: sorted(events, key=lambda event: (event[0], event[1].encode()))
        for user_id, events in events_by_user.items()
    }
    kept = {user_id: events for user_id, events in ordered.items() if events}
    return combined({user_id: user_digest(events) for user_id, events in kept.items()}, sum(map(len, kept.values())))
