"""What a surface asks of Corkboard, with answers that can be printed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.console import Group, RenderableType
from rich.markup import escape

from corkboard.commands.output import table
from corkboard.session import Session
from protos.blender.v1 import blender_pb2, blender_pb2_grpc
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from protos.tables import table_to_batch

POOL_ROWS_SHOWN = 10


@dataclass(frozen=True)
class Feed:
    """A feed with the titles and topics of its pins."""

    response: blender_pb2.GetFeedResponse
    pins: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def pin_ids(self) -> list[str]:
        return [item.pin_id for item in self.response.items]

    def title(self, pin_id: str) -> str:
        return str(self.pins.get(pin_id, {}).get("title") or pin_id)

    def topics(self, pin_id: str) -> str:
        return ", ".join(self.pins.get(pin_id, {}).get("topics") or ())

    def degradations(self) -> list[str]:
        return [f"{item.component}: {item.reason} -> {item.level}" for item in self.response.degradations]

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = MessageToDict(self.response, preserving_proto_field_name=True)
        for item in data.get("items", []):
            item.update({"title": self.title(item["pin_id"]), "topics": self.topics(item["pin_id"])})
        return data

    def draw(self) -> RenderableType:
        rows = [
            (
                item.position + 1,
                item.pin_id,
                self.title(item.pin_id),
                self.topics(item.pin_id),
                f"{item.score:.3f}",
                item.generator,
                item.reason_code,
            )
            for item in self.response.items
        ]
        columns = ("", "pin", "title", "topics", "score", "generator", "why")
        drawn = table(
            f"feed · request {self.response.request_id} · trace {self.response.trace_id}", columns, rows, ("", "score")
        )
        missing = [f"[yellow]degraded[/yellow] {escape(line)}" for line in self.degradations()]
        return Group(drawn, *missing)


async def get_feed(session: Session, request: blender_pb2.GetFeedRequest, *, with_titles: bool = True) -> Feed:
    """One page of a feed; titles come from the indexer and are left out when it is away."""
    response = await session.call("blender", blender_pb2_grpc.FeedServiceStub, "GetFeed", request)
    return Feed(response, await _pins(session, [item.pin_id for item in response.items]) if with_titles else {})


async def _pins(session: Session, pin_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    from chassis.errors import CorkboardError

    request = indexer_pb2.BatchGetPinsRequest(pin_ids=pin_ids, columns=["pin_id", "title", "topics"])
    try:
        answer = await session.call("indexer", indexer_pb2_grpc.FeatureServiceStub, "BatchGetPins", request)
    except CorkboardError:
        return {}
    return {row["pin_id"]: row for row in table_to_batch(answer.pins).to_pylist()}


async def explain(session: Session, request_id: str, why_not: Sequence[str]) -> blender_pb2.ExplainFeedResponse:
    """Why a served feed looks as it does.

    Raises: NotFound when it is not known, or no longer.
    """
    request = blender_pb2.ExplainFeedRequest(request_id=request_id, why_not_pin_ids=why_not)
    answer: blender_pb2.ExplainFeedResponse = await session.call(
        "blender", blender_pb2_grpc.FeedServiceStub, "ExplainFeed", request
    )
    return answer


async def publish_one(session: Session, event: ingest_pb2.Event) -> ingest_pb2.Verdict:
    """Publish one event; returns its verdict."""
    request = ingest_pb2.PublishEventsRequest(events=[event])
    answer = await session.call("ingest", ingest_pb2_grpc.IngestServiceStub, "PublishEvents", request)
    verdict: ingest_pb2.Verdict = answer.verdicts[0]
    return verdict


def draw_funnel(answer: blender_pb2.ExplainFeedResponse) -> RenderableType:
    """How many came and left each stage, and how far each generator's candidates came."""
    stages = [
        (stage.stage, stage.num_in, stage.num_kept, stage.num_removed, f"{stage.duration_ms:.1f}", stage.fallback)
        for stage in answer.stages
    ]
    survival = [
        (
            each.generator,
            each.num_candidates,
            each.num_not_dropped,
            each.num_ranked,
            each.num_top_ranked,
            each.num_served,
            f"{each.num_served / each.num_candidates:.1%}" if each.num_candidates else "",
        )
        for each in answer.survival
    ]
    return Group(
        table("stages", ("stage", "in", "kept", "removed", "ms", "fallback"), stages, ("in", "kept", "removed", "ms")),
        table("generators", ("generator", *_SURVIVAL_COLUMNS), survival, _SURVIVAL_COLUMNS),
    )


_SURVIVAL_COLUMNS = ("candidates", "not dropped", "ranked", "top by score", "served", "survival")


def draw_explanation(answer: blender_pb2.ExplainFeedResponse) -> RenderableType:
    """Stages as a funnel, items with what moved them, why-not answers, events that mattered."""
    parts: list[RenderableType] = [
        draw_funnel(answer),
        table("items", _ITEM_COLUMNS, [_item_row(item) for item in answer.items], _ITEM_NUMBERS),
    ]
    if answer.why_not:
        parts.append(
            table(
                "why not",
                ("pin", "removed by", "rank by score", "score"),
                [(item.pin_id, item.removed_by, item.rank_by_score, f"{item.score:.3f}") for item in answer.why_not],
            )
        )
    if answer.influencing_events:
        parts.append(
            table(
                "events that shaped it",
                ("event", "type", "pin"),
                [(event.event_id, event.event_type, event.pin_id) for event in answer.influencing_events],
            )
        )
    return Group(*parts)


_ITEM_COLUMNS = ("", "pin", "score", "by score", "places", "diversity", "spacing", "moved by", "heads")
_ITEM_NUMBERS = ("", "score", "by score", "places", "diversity", "spacing")


def _item_row(item: blender_pb2.ItemExplanation) -> tuple[Any, ...]:
    heads = " ".join(f"{head} {value:.2f}" for head, value in sorted(item.score_by_head.items()))
    return (
        item.position + 1,
        item.pin_id,
        f"{item.score:.3f}",
        item.rank_by_score + 1,
        f"{item.places_moved:+d}",
        f"{item.diversity_bonus:.3f}",
        f"{item.spacing_penalty:.3f}",
        item.moved_by,
        heads,
    )
