"""How varied the pages are that go out, as metrics per surface."""

from chassis.metrics import Metrics
from services.blender.app.feed_state import FeedState
from services.blender.domain.measures import SPAN, variety


class VarietyMeter:
    """Looks at the first ten items of each page: what a person sees first, and cheap to measure."""

    def __init__(self, metrics: Metrics) -> None:
        self._ilad = metrics.histogram(
            "blender_ilad_at_10",
            "Mean distance (1 - cosine) between the first ten items.",
            ("surface",),
            buckets=[step / 10 for step in range(1, 15)],
        )
        self._topics = metrics.histogram(
            "blender_topics_at_10", "Distinct topics of the first ten items.", ("surface",), buckets=range(11)
        )
        self._run = metrics.histogram(
            "blender_longest_topic_run", "Most items of one topic in a row of ten.", ("surface",), buckets=range(11)
        )

    def observe(self, state: FeedState) -> None:
        """One page; nothing is said of one whose pins are not known."""
        pin_ids = [each.candidate.pin_id for each in state.placed[:SPAN]]
        known = [pin_id for pin_id in pin_ids if pin_id in state.features.row_by_pin]
        if not known:
            return
        found = variety(state.features.vectors_of(known), [state.features.topic_of(pin_id) for pin_id in known])
        self._ilad.labels(state.surface.name).observe(found.ilad_at_10)
        self._topics.labels(state.surface.name).observe(found.topics_at_10)
        self._run.labels(state.surface.name).observe(found.longest_run)
