"""Candidate survival: how much of what each generator returned is delivered, as two counters per surface."""

from collections import Counter

import numpy as np

from chassis.metrics import Metrics
from services.blender.app.feed_state import FeedState
from services.blender.app.stages.retrieve import Retrieve


class SurvivalMeter:
    """The rate of a generator is its impressions through its candidates.

    Candidates count for every generator that returned them, once, on the page that retrieved them. An impression counts
    for the one that ranked it best. What a fallback dealt counts for the generator it names, on both sides.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._candidates = metrics.counter(
            "blender_candidates_total", "Candidates that a generator returned.", ("surface", "generator")
        )
        self._impressions = metrics.counter(
            "blender_impressions_total",
            "Items delivered, by the generator that ranked them best.",
            ("surface", "generator"),
        )

    def observe(self, state: FeedState) -> None:
        """One delivered page."""
        surface = state.surface.name
        for generator, count in self._returned(state).items():
            self._candidates.labels(surface, self._metrics.bounded(generator, label="generator")).inc(count)
        for generator, count in Counter(each.candidate.generator for each in state.placed).items():
            self._impressions.labels(surface, self._metrics.bounded(generator, label="generator")).inc(count)

    def _returned(self, state: FeedState) -> Counter[str]:
        if state.session is not None:  # counted on the page that retrieved them
            return Counter()
        if any(each.stage == Retrieve.name and each.fallback for each in state.stages):
            return Counter(state.entered.generators)
        num_by_source = np.count_nonzero(~np.isnan(state.entered.score_by_source_NG), axis=0).tolist()
        return Counter(dict(zip(state.entered.sources, num_by_source, strict=True)))
