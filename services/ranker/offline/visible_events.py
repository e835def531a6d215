"""Which events of the lake a logged ranking could see, and how its history differs from them.

An event that was not in the version of the sequence that was read is no skew when it came late: when it had not been
enriched `settle_ms` before the request. Such events are left out of what training is taken to see, and counted. So
are events that the ranking saw although they happened at or after its time: a client's clock that is ahead, or a click
while the sequence was read.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from services.ranker.offline.logged_rankings import LoggedRanking, PastEvent


@dataclass(frozen=True)
class Visible:
    """`events` are those that training sees, in order; the ids of `ahead` are left out of every comparison.

    `absent` should have been read and were not; `unheard_of` were read and the lake does not have them; `num_moved`
    were read in another order.
    """

    events: tuple[PastEvent, ...]
    ahead: frozenset[str]
    absent: frozenset[str]
    unheard_of: frozenset[str]
    num_moved: int
    num_late: int


def visible_events(ranking: LoggedRanking, past: Sequence[PastEvent], settle_ms: int) -> Visible:
    """`past` are all events of the user, by time."""
    read = frozenset(ranking.event_ids)
    before = [each for each in past if each.time_ms < ranking.time_ms]
    late = {e.event_id for e in before if e.event_id not in read and e.enriched_time_ms > ranking.time_ms - settle_ms}
    on_time = [each for each in before if each.event_id not in late]
    place = {each.event_id: number for number, each in enumerate(on_time)}
    ahead = frozenset(each.event_id for each in past if each.event_id in read and each.time_ms >= ranking.time_ms)
    places = [place[event_id] for event_id in ranking.event_ids if event_id in place]
    expected = on_time[_first_expected(ranking, place, len(on_time)) :]
    return Visible(
        events=tuple(on_time if ranking.is_whole_history else on_time[min(places, default=len(on_time)) :]),
        ahead=ahead,
        absent=frozenset(each.event_id for each in expected) - read,
        unheard_of=read - ahead - place.keys(),
        num_moved=sum(after < earlier for earlier, after in itertools.pairwise(places)),
        num_late=len(late),
    )


def _first_expected(ranking: LoggedRanking, place: dict[str, int], num_events: int) -> int:
    """From this place on every event should have been read."""
    if ranking.is_whole_history:
        return 0
    gapless = ranking.event_ids[len(ranking.event_ids) - ranking.num_gapless_events :]
    return min((place[event_id] for event_id in gapless if event_id in place), default=num_events)
