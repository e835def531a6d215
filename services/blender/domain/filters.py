"""Which candidates a person must not meet."""

from collections.abc import Callable, Iterable, Sequence, Set

from services.blender.domain.candidate import Candidate

Split = tuple[list[Candidate], list[Candidate]]


def split_seen(candidates: Sequence[Candidate], seen: Set[str]) -> Split:
    """(kept, removed) by whether the pin was seen within the surface's window."""
    return _split(candidates, lambda each: each.pin_id not in seen)


def oldest_seen_first(candidates: Iterable[Candidate], seen_oldest_first: Sequence[str]) -> list[Candidate]:
    """Candidates by when they were seen, the longest ago first; equal ones keep their order."""
    place = {pin_id: index for index, pin_id in enumerate(seen_oldest_first)}  # seen twice: the later one counts
    return sorted(candidates, key=lambda each: place.get(each.pin_id, -1))


def split_blocked(candidates: Sequence[Candidate], blocked: Set[str]) -> Split:
    """(kept, removed) by the user's blocks and by content: of near-duplicates the first one stays."""
    groups: set[str] = set()

    def is_kept(each: Candidate) -> bool:
        if each.pin_id in blocked or each.content_group in groups:
            return False
        if each.content_group:
            groups.add(each.content_group)
        return True

    return _split(candidates, is_kept)


def _split(candidates: Sequence[Candidate], is_kept: Callable[[Candidate], bool]) -> Split:
    kept: list[Candidate] = []
    removed: list[Candidate] = []
    for each in candidates:
        (kept if is_kept(each) else removed).append(each)
    return kept, removed
