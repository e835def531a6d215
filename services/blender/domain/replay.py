"""What a changed configuration would have made of a feed that was served.

Both slates are made anew from the logged pool with the pins' features of today, so that the configuration alone tells
them apart. Only first pages: a later one also depends on the page before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sequences.definitions.definitions import Definitions
from sequences.definitions.surface import Surface
from services.blender.domain.measures import relevance_kept, variety
from services.blender.domain.page_slate import page_slate
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.served_feed import ServedFeed
from services.blender.domain.slate import Slate
from services.blender.domain.spacing_rules import applicable

LEFT_BY_CHOICE = ("", "cut_page")  # served, or in the pool when the page was filled


@dataclass(frozen=True)
class Page:
    """One filled page."""

    pin_ids: Sequence[str]
    measures: dict[str, float]
    dry_run_moves: dict[str, int]


@dataclass(frozen=True)
class Replayed:
    """One feed under two configurations."""

    request_id: str
    surface: str
    served: Sequence[str]
    before: Page
    after: Page

    @property
    def num_moved(self) -> int:
        """Slots that hold another pin."""
        return sum(a != b for a, b in zip(self.before.pin_ids, self.after.pin_ids, strict=False))

    @property
    def num_entered(self) -> int:
        """Pins that were not on the page before."""
        return len(set(self.after.pin_ids) - set(self.before.pin_ids))


def pool_of(feed: ServedFeed) -> dict[str, float]:
    """Score of each pin that the page could be filled with, in order of rank."""
    ranked = [each.candidate for each in feed.outcomes if each.removed_by in LEFT_BY_CHOICE]
    ranked = sorted((each for each in ranked if each.rank_by_score >= 0), key=lambda each: each.rank_by_score)
    return {each.pin_id: each.score for each in ranked}


def can_be_replayed(feed: ServedFeed) -> bool:
    """A first page with a ranked pool."""
    return feed.page == 0 and bool(pool_of(feed))


def replay(feed: ServedFeed, features: PinFeatures, before: Definitions, after: Definitions) -> Replayed | None:
    """None when either configuration has no such surface."""
    if not (feed.surface in before.surfaces and feed.surface in after.surfaces):
        return None
    served = [each.candidate.pin_id for each in feed.outcomes if each.position >= 0]
    pages = [_page(feed, features, each, each.surfaces[feed.surface], len(served)) for each in (before, after)]
    return Replayed(feed.request_id, feed.surface, served, *pages)


def _page(feed: ServedFeed, features: PinFeatures, definitions: Definitions, surface: Surface, num_slots: int) -> Page:
    scores = pool_of(feed)
    slate = page_slate(scores, features, surface, applicable(definitions.spacing, surface.name), num_slots)
    pool = list(scores)
    pin_ids = [pool[index] for index in slate.order_T.tolist()]
    return Page(pin_ids, _measures(pin_ids, scores, features, slate), slate.dry_run_moves)


def _measures(
    pin_ids: Sequence[str], scores: dict[str, float], features: PinFeatures, slate: Slate
) -> dict[str, float]:
    topics = [features.topic_of(pin_id) for pin_id in pin_ids]
    found: dict[str, Any] = asdict(variety(features.vectors_of(pin_ids), topics))
    found["relevance_kept"] = relevance_kept([scores[pin_id] for pin_id in pin_ids], list(scores.values()))
    found["mean_spacing_penalty"] = float(np.mean(slate.penalty_T)) if len(slate.penalty_T) else 0.0
    return found


def summary(replayed: Sequence[Replayed]) -> dict[str, dict[str, Any]]:
    """By surface: means over feeds."""
    return {
        surface: _summary([each for each in replayed if each.surface == surface])
        for surface in sorted({each.surface for each in replayed})
    }


def _summary(replayed: Sequence[Replayed]) -> dict[str, Any]:
    def means(pages: Sequence[Page]) -> dict[str, float]:
        return {name: round(float(np.mean([each.measures[name] for each in pages])), 4) for name in pages[0].measures}

    def share(is_so: Iterable[bool]) -> float:
        return round(float(np.mean(list(is_so))), 4)

    classes = sorted({name for each in replayed for name in each.after.dry_run_moves})
    slots = sum(len(each.after.pin_ids) for each in replayed)
    return {
        "num_feeds": len(replayed),
        "as_served_share": share(list(each.before.pin_ids) == list(each.served) for each in replayed),
        "changed_feeds_share": share(each.num_moved > 0 for each in replayed),
        "moved_slots_share": round(sum(each.num_moved for each in replayed) / max(1, slots), 4),
        "entered_share": round(sum(each.num_entered for each in replayed) / max(1, slots), 4),
        "before": means([each.before for each in replayed]),
        "after": means([each.after for each in replayed]),
        "dry_run_moves": {name: sum(each.after.dry_run_moves.get(name, 0) for each in replayed) for name in classes},
    }
