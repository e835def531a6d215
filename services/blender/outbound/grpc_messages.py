"""Messages that several peers answer with, in blender's words."""

from collections.abc import Iterable

from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as ranker
from services.blender.domain.candidate import Degradation, InfluencingEvent


def degradations_of(messages: Iterable[common.Degradation]) -> list[Degradation]:
    """In order."""
    return [Degradation(each.component, each.reason, each.level) for each in messages]


def events_of(messages: Iterable[ranker.InfluencingEvent]) -> list[InfluencingEvent]:
    """In order."""
    return [
        InfluencingEvent(each.event_id, each.event_type, each.pin_id, each.event_time_ms, each.traceparent)
        for each in messages
    ]
