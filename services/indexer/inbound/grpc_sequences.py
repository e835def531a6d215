"""corkboard.indexer.v1.SequenceService."""

from typing import Any

import pyarrow as pa

from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.tables import batch_to_table
from services.indexer.app.read_sequences import ReadSequences, SequenceAnswer, SequenceAsk, SequenceDescription
from services.indexer.domain.completeness import HourCompleteness


class SequenceServicer(indexer_pb2_grpc.SequenceServiceServicer):
    """Messages in and out; what may be asked is decided in the app."""

    def __init__(self, sequences: ReadSequences) -> None:
        self._sequences = sequences

    async def GetSequence(self, request: pb.GetSequenceRequest, _context: Any) -> pb.GetSequenceResponse:
        """One user."""
        [answer] = await self._sequences.get([request.user_id], ask_of(request))
        return _response(answer)

    async def BatchGetSequences(
        self, request: pb.BatchGetSequencesRequest, _context: Any
    ) -> pb.BatchGetSequencesResponse:
        """Many users."""
        answers = await self._sequences.get(request.user_ids, ask_of(request))
        return pb.BatchGetSequencesResponse(sequences=map(_response, answers))

    async def DescribeSequence(self, request: pb.DescribeSequenceRequest, _context: Any) -> pb.DescribeSequenceResponse:
        """Schema and quality."""
        return _description(self._sequences.describe(request.sequence))


def ask_of(request: pb.GetSequenceRequest | pb.BatchGetSequencesRequest | pb.HistoryAsk) -> SequenceAsk:
    """What is wanted of a sequence, of whomever."""
    return SequenceAsk(request.sequence, request.max_events, tuple(request.columns), request.tenant)


def _response(answer: SequenceAnswer) -> pb.GetSequenceResponse:
    return pb.GetSequenceResponse(
        events=batch_to_table(answer.events.rows),
        sequence_version=answer.events.version,
        newest_event_time_ms=answer.newest_event_time_ms,
        as_of_ms=answer.as_of_ms,
        completeness_ratio=answer.completeness.ratio,
        completeness_num_events=answer.completeness.num_audited,
        freshness_p99_s=answer.freshness_p99_s,
        definitions_version=answer.definitions_version,
        num_total=answer.events.num_total,
    )


def _description(found: SequenceDescription) -> pb.DescribeSequenceResponse:
    definition, quality = found.definition, found.quality
    return pb.DescribeSequenceResponse(
        name=definition.name,
        definition_version=definition.version,
        arrow_schema=_schema_bytes(found.schema),
        freshness_p50_s=quality.freshness_p50_s,
        freshness_p99_s=quality.freshness_p99_s,
        lag_p50_s=quality.lag_p50_s,
        lag_p99_s=quality.lag_p99_s,
        late_ratio=quality.late_ratio,
        num_events=quality.num_events,
        completeness_ratio=quality.completeness_ratio,
        completeness_num_events=quality.completeness_num_events,
        hours=map(_hour, quality.hours),
        coverage_ratio=quality.coverage_ratio,
        definitions_version=found.definitions_version,
        rows_by_definitions_version=quality.rows_by_definitions_version,
        target_freshness_p99_s=definition.freshness_p99_s,
        target_completeness_ratio=definition.completeness_ratio,
    )


def _hour(hour: HourCompleteness) -> pb.HourCompleteness:
    return pb.HourCompleteness(
        hour_start_ms=hour.hour_start_ms, num_audited=hour.num_audited, num_readable=hour.num_readable
    )


def _schema_bytes(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())
