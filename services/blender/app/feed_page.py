"""What GetFeed answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.blender.domain.candidate import Degradation
from services.blender.domain.cursor import Cursor
from services.blender.domain.served_feed import Outcome


@dataclass(frozen=True)
class FeedPage:
    """One page. `next_cursor` is None at the end."""

    items: Sequence[Outcome]
    next_cursor: Cursor | None
    request_id: str
    versions: Mapping[str, str]
    degradations: Sequence[Degradation]
    trace_id: str
