"""The served feed between its protobuf and the domain."""

from collections.abc import Sequence
from dataclasses import asdict

from google.protobuf.message import DecodeError

from chassis.errors import Corrupt, Invalid
from protos.blender.v1 import blender_pb2 as pb
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as ranker
from services.blender.domain.candidate import Candidate
from services.blender.domain.candidates import Candidates
from services.blender.domain.served_feed import LeftOut, Outcome, ServedFeed, StageCount
from services.blender.outbound import kafka_left_out_columns
from services.blender.outbound.grpc_messages import degradations_of, events_of


def encode(feed: ServedFeed) -> bytes:
    """A value of topic feeds.served."""
    return pb.ServedFeed(
        request_id=feed.request_id,
        user_id=feed.user_id,
        surface=feed.surface,
        served_time_ms=feed.served_time_ms,
        candidates=[_candidate_message(each) for each in feed.served],
        left_out=kafka_left_out_columns.encode(feed.left_out),
        stages=[pb.StageReport(**asdict(each)) for each in feed.stages],
        versions=common.Versions(by_artifact=feed.versions),
        degradations=[common.Degradation(**asdict(each)) for each in feed.degradations],
        sequence_version=feed.sequence_version,
        trace_id=feed.trace_id,
        subject_pin_id=feed.subject_pin_id,
        query=feed.query,
        locale=feed.locale,
        page=feed.page,
        influencing_events=[ranker.InfluencingEvent(**asdict(each)) for each in feed.influencing_events],
        seen_fingerprints=feed.seen,
        blocked_fingerprints=feed.blocked,
    ).SerializeToString()


def decode(value: bytes) -> ServedFeed:
    """Raises: Corrupt when the bytes are no ServedFeed."""
    try:
        message = pb.ServedFeed.FromString(value)
    except DecodeError as error:
        raise Corrupt(f"{len(value)} bytes are no ServedFeed: {error}") from error
    outcomes = [_outcome(each) for each in message.candidates]
    return ServedFeed(
        request_id=message.request_id,
        user_id=message.user_id,
        surface=message.surface,
        served_time_ms=message.served_time_ms,
        served=[each for each in outcomes if not each.removed_by],
        left_out=_left_out(message, [each for each in outcomes if each.removed_by]),
        stages=[
            StageCount(each.stage, each.num_in, each.num_kept, each.num_removed, each.duration_ms, each.fallback)
            for each in message.stages
        ],
        versions=dict(message.versions.by_artifact),
        degradations=degradations_of(message.degradations),
        sequence_version=message.sequence_version,
        trace_id=message.trace_id,
        subject_pin_id=message.subject_pin_id,
        query=message.query,
        locale=message.locale,
        page=message.page,
        influencing_events=events_of(message.influencing_events),
        seen=list(message.seen_fingerprints),
        blocked=list(message.blocked_fingerprints),
    )


def _left_out(message: pb.ServedFeed, outcomes: Sequence[Outcome]) -> LeftOut:
    """Before there were columns they came as the served ones do. Raises: Corrupt when columns do not fit."""
    if outcomes:
        candidates = Candidates.of(each.candidate for each in outcomes)
        return LeftOut(candidates, [each.removed_by for each in outcomes])
    try:
        return kafka_left_out_columns.decode(message.left_out)
    except (Invalid, IndexError) as error:
        raise Corrupt(f"feed {message.request_id[:100]!r} has columns that do not fit: {error}") from error


def _candidate_message(outcome: Outcome) -> pb.ServedCandidate:
    candidate = outcome.candidate
    return pb.ServedCandidate(
        pin_id=candidate.pin_id,
        position=outcome.position,
        removed_by=outcome.removed_by,
        generator=candidate.generator,
        retrieval_score=candidate.retrieval_score,
        score=candidate.score,
        score_by_head=candidate.score_by_head,
        diversity_bonus=outcome.diversity_bonus,
        spacing_penalty=outcome.spacing_penalty,
        rank_by_score=candidate.rank_by_score,
        moved_by=outcome.moved_by,
        reason_code=outcome.reason_code,
    )


def _outcome(message: pb.ServedCandidate) -> Outcome:
    candidate = Candidate(
        pin_id=message.pin_id,
        generator=message.generator,
        retrieval_score=message.retrieval_score,
        retrieval_rank=-1,  # not part of the record
        score=message.score,
        score_by_head=dict(message.score_by_head),
        rank_by_score=message.rank_by_score,
    )
    return Outcome(
        candidate,
        message.position,
        message.removed_by,
        message.diversity_bonus,
        message.spacing_penalty,
        message.moved_by,
        message.reason_code,
    )
