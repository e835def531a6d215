"""Holds logged features against those of training, value by value, and counts by feature.

Shapes: N rows of one feature in one ranking, history events or candidates.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modeling.arrays import AnyArray, Bools
from services.ranker.domain.features import CANDIDATE, FEATURES
from services.ranker.offline.feature_values import ABSOLUTE, RELATIVE, SCORES, is_known, outcomes, shown
from services.ranker.offline.logged_rankings import Lake, LoggedRanking
from services.ranker.offline.training_view import TrainingView
from services.ranker.offline.visible_events import Visible

OF_PINS = frozenset({"history_content", "candidate_content", "candidate_age_s", "candidate_price"})
EVENTS = "history_events"  # which events there are, and in which order
MAX_EXAMPLES = 3
WHY_NOT_SCORES = "training's scores come from models that were fitted without the user"
WHY_NOT_MADE = "training does not make it"


@dataclass(frozen=True)
class Rows:
    """Rows of one feature: their ids, the pins they are of, and whether training has them."""

    ids: tuple[str, ...]
    pin_ids: tuple[str, ...]
    is_there_N: Bools


@dataclass
class Tally:
    """Of one feature, by outcome. `changed` values are not compared: their pin was enriched around the request or
    since."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Counts, and shares of the values that one side at least knows."""
        num_values = sum(self.counts[name] for name in ("same", "different", "defaulted", "missing"))
        shares = {f"{name}_share": self.counts[name] / max(1, num_values) for name in SHARES}
        others = {f"num_{name}": self.counts[name] for name in ("unknown", "changed")}
        return {"num_values": num_values, **shares, **others, "examples": self.examples}


SHARES = ("different", "defaulted", "missing")


class Comparison:
    """Adds up rankings."""

    def __init__(self, lake: Lake, settle_ms: int) -> None:
        self._lake = lake
        self._settle_ms = settle_ms
        self._tallies: dict[str, Tally] = {}
        self._left_out: dict[str, Counter[str]] = {}
        self._events: Counter[str] = Counter()
        self._versions: Counter[tuple[tuple[str, str], ...]] = Counter()

    def add(self, ranking: LoggedRanking, visible: Visible, view: TrainingView) -> None:
        """One ranking, and what training would have had."""
        self._versions[_versions(ranking)] += 1
        has_history = "sequence" not in ranking.degraded
        self._events["rankings_without_sequence"] += not has_history
        if has_history:
            self._add_events(ranking, visible)
        for name, online in ranking.tensors.items():
            if name not in view.values or name.startswith(SCORES):
                self._leave_out(ranking, name, online)
            elif FEATURES[name].axis == CANDIDATE:
                self._add_candidates(ranking, name, online, view.values[name])
            elif has_history:
                self._add_history(ranking, visible, name, online, view)

    def report(self) -> dict[str, Any]:
        """What was found, as JSON."""
        return {
            "tolerance": {"relative": RELATIVE, "absolute": ABSOLUTE},
            "settle_s": self._settle_ms / 1_000,
            "features": {name: self._tallies[name].report() for name in sorted(self._tallies)},
            "not_compared": {name: self._not_compared(name) for name in sorted(self._left_out)},
            "events": {name: self._events[name] for name in ("late", "ahead", "rankings_without_sequence")},
            "versions": [{**dict(key), "num_rankings": count} for key, count in self._versions.most_common()],
        }

    def _add_events(self, ranking: LoggedRanking, visible: Visible) -> None:
        tally = self._tally(EVENTS)
        num_read = len(set(ranking.event_ids) - visible.ahead)
        wrong = len(visible.absent) + visible.num_moved
        tally.counts["different"] += wrong
        tally.counts["missing"] += len(visible.unheard_of)
        tally.counts["same"] += num_read - len(visible.unheard_of) - visible.num_moved
        self._events["late"] += visible.num_late
        self._events["ahead"] += len(visible.ahead)
        for event_id in sorted(visible.absent)[: MAX_EXAMPLES - len(tally.examples)]:
            tally.examples.append(_example(ranking, event_id, "not read", "is there"))

    def _add_candidates(self, ranking: LoggedRanking, name: str, online: AnyArray, offline: AnyArray) -> None:
        is_there_C = np.ones(len(ranking.pin_ids), np.bool_) if name not in OF_PINS else self._has(ranking.pin_ids)
        self._compare(ranking, name, Rows(ranking.pin_ids, ranking.pin_ids, is_there_C), online, offline)

    def _add_history(
        self, ranking: LoggedRanking, visible: Visible, name: str, online: AnyArray, view: TrainingView
    ) -> None:
        kept = [row for row, event_id in enumerate(ranking.event_ids) if event_id not in visible.ahead]
        ids = tuple(ranking.event_ids[row] for row in kept)
        place = {event_id: number for number, event_id in enumerate(view.event_ids)}
        places = np.asarray([place.get(event_id, -1) for event_id in ids], dtype=np.int64)
        offline = view.values[name]
        values = offline[places] if len(offline) else np.zeros((len(ids), *offline.shape[1:]), offline.dtype)
        pin_of = {each.event_id: each.pin_id for each in visible.events}
        pins = tuple(pin_of.get(event_id, "") for event_id in ids)
        is_there_N = (places >= 0) & self._has(pins) if name in OF_PINS else places >= 0
        given = online[kept] if len(online) == len(ranking.event_ids) else online
        self._compare(ranking, name, Rows(ids, pins, is_there_N), given, values)

    def _has(self, pin_ids: tuple[str, ...]) -> Bools:
        return np.asarray([pin_id in self._lake.pin_rows for pin_id in pin_ids], dtype=np.bool_)

    def _compare(self, ranking: LoggedRanking, name: str, rows: Rows, online: AnyArray, offline: AnyArray) -> None:
        tally = self._tally(name)
        given = online if name not in ranking.defaulted_inputs and len(online) == len(rows.ids) else None
        found_N = outcomes(name, given, offline, rows.is_there_N)
        if name in OF_PINS:
            found_N = np.where(self._is_changed(ranking, rows.pin_ids), "changed", found_N)
        tally.counts.update(found_N.tolist())
        for row in np.flatnonzero(np.isin(found_N, SHARES))[: MAX_EXAMPLES - len(tally.examples)]:
            training = shown(offline[row]) if found_N[row] != "missing" else "missing"
            served = "default" if given is None else shown(given[row])
            tally.examples.append(_example(ranking, rows.ids[row], served, training))

    def _is_changed(self, ranking: LoggedRanking, pin_ids: tuple[str, ...]) -> Bools:
        times_ms = [self._lake.pin_enriched_time_ms.get(pin_id, 0) for pin_id in pin_ids]
        return np.asarray(times_ms, dtype=np.int64) > ranking.time_ms - self._settle_ms

    def _leave_out(self, ranking: LoggedRanking, name: str, online: AnyArray) -> None:
        counts = self._left_out.setdefault(name, Counter())
        counts["values"] += len(online)
        counts["known"] += int(is_known(name, online).sum()) if name not in ranking.defaulted_inputs else 0

    def _not_compared(self, name: str) -> dict[str, Any]:
        counts = self._left_out[name]
        why = WHY_NOT_SCORES if name.startswith(SCORES) else WHY_NOT_MADE
        unknown_share = 1.0 - counts["known"] / max(1, counts["values"])
        return {"why": why, "num_values": counts["values"], "unknown_share": unknown_share}

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally())


def _versions(ranking: LoggedRanking) -> tuple[tuple[str, str], ...]:
    """What one bar of the histogram is of."""
    vectors = "+".join(sorted(version or "none" for version in ranking.vector_versions))
    versions: Mapping[str, str] = {
        f"model:{ranking.model}": ranking.model_version,
        **ranking.versions,
        "content_vector": vectors,
    }
    return tuple(sorted(versions.items()))


def _example(ranking: LoggedRanking, row: str, online: str, training: str) -> dict[str, Any]:
    where = {"request_id": ranking.request_id, "user_id": ranking.user_id, "row": row}
    return {**where, "online": online, "training": training}
