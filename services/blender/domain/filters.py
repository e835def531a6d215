"""Candidates apart: which ones a person must not meet, and which ones are named."""

from collections.abc import Sequence, Set

from services.blender.domain.candidates import Candidates

Split = tuple[Candidates, Candidates]


def split_named(candidates: Candidates, pin_ids: Set[str]) -> Split:
    """(the others, those of these pins), each in order."""
    return _split(candidates, [pin_id not in pin_ids for pin_id in candidates.pin_ids])


def oldest_seen_first(candidates: Candidates, seen_oldest_first: Sequence[str]) -> Candidates:
    """Candidates by when they were seen, the longest ago first; equal ones keep their order."""
    place = {pin_id: index for index, pin_id in enumerate(seen_oldest_first)}  # seen twice: the later one counts
    pin_ids = candidates.pin_ids
    return candidates.take(sorted(range(len(candidates)), key=lambda row: place.get(pin_ids[row], -1)))


def split_blocked(candidates: Candidates, blocked: Set[str]) -> Split:
    """(kept, removed) by the user's blocks and by content: of near-duplicates the first one stays."""
    groups: set[str] = set()

    def is_kept(pin_id: str, group: str) -> bool:
        if pin_id in blocked or group in groups:
            return False
        if group:
            groups.add(group)
        return True

    pins = zip(candidates.pin_ids, candidates.content_groups, strict=True)
    return _split(candidates, [is_kept(pin_id, group) for pin_id, group in pins])


def _split(candidates: Candidates, is_kept: Sequence[bool]) -> Split:
    if all(is_kept):
        return candidates, candidates[:0]
    kept = [row for row, is_one in enumerate(is_kept) if is_one]
    removed = [row for row, is_one in enumerate(is_kept) if not is_one]
    return candidates.take(kept), candidates.take(removed)
