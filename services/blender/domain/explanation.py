"""Why a served feed looks as it does, read off its record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.blender.domain.candidate import Candidate
from services.blender.domain.cursor import fingerprint
from services.blender.domain.served_feed import NOT_SERVED, Outcome, ServedFeed

DROPS = ("drop_seen", "drop_blocked")
NEVER_RETRIEVED, SEEN, BLOCKED = "retrieve", "drop_seen", "drop_blocked"  # names of stages


@dataclass(frozen=True, slots=True)
class GeneratorSurvival:
    """What became of one generator's candidates; each counts for the generator that ranked it best."""

    generator: str
    num_candidates: int
    num_not_dropped: int
    num_ranked: int
    num_top_ranked: int  # among as many by score alone as the page has items
    num_served: int


@dataclass(frozen=True)
class Explanation:
    """`items` are the served ones by position, `pool` the ranked ones best first, `why_not` as asked."""

    feed: ServedFeed
    items: Sequence[Outcome]
    why_not: Sequence[Outcome]
    pool: Sequence[Outcome]
    survival: Sequence[GeneratorSurvival]


def explain(feed: ServedFeed, why_not_pin_ids: Sequence[str]) -> Explanation:
    """A pin that never entered was left out as blocked or seen, or no generator brought it."""
    by_pin = {each.candidate.pin_id: each for each in feed.outcomes}
    ranked = [each for each in feed.outcomes if each.candidate.rank_by_score >= 0]
    pool = sorted(ranked, key=lambda each: each.candidate.rank_by_score)
    return Explanation(
        feed=feed,
        items=sorted((each for each in feed.outcomes if each.position != NOT_SERVED), key=lambda each: each.position),
        why_not=[by_pin.get(pin_id) or _never(feed, pin_id) for pin_id in why_not_pin_ids],
        pool=pool,
        survival=survival(feed.outcomes, pool),
    )


def survival(outcomes: Sequence[Outcome], pool: Sequence[Outcome]) -> list[GeneratorSurvival]:
    """By generator, the one with most candidates first; `pool` is what was ranked, best first."""
    served = [each for each in outcomes if each.position != NOT_SERVED]
    entered, not_dropped, ranked, top_ranked, shown = (
        _by_generator(some)
        for some in (
            outcomes,
            (each for each in outcomes if each.removed_by not in DROPS),
            pool,
            pool[: len(served)],
            served,
        )
    )
    return [
        GeneratorSurvival(name, num, not_dropped[name], ranked[name], top_ranked[name], shown[name])
        for name, num in sorted(entered.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _by_generator(outcomes: Iterable[Outcome]) -> Counter[str]:
    return Counter(each.candidate.generator for each in outcomes)


def places_moved(outcome: Outcome) -> int:
    """Positive = up, against the order by score; 0 for pins that were not served or not ranked."""
    rank = outcome.candidate.rank_by_score
    return rank - outcome.position if outcome.position != NOT_SERVED and rank >= 0 else 0


def _never(feed: ServedFeed, pin_id: str) -> Outcome:
    place = fingerprint(pin_id)
    removed_by = BLOCKED if place in feed.blocked else SEEN if place in feed.seen else NEVER_RETRIEVED
    return Outcome(Candidate(pin_id, "", 0.0, -1), removed_by=removed_by)
