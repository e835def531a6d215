"""corkboard.indexer.v1.SequenceService."""

from typing import Any

import pyarrow as pa

from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.tables import batch_to_table
from services.indexer.app.read_sequences import ReadSequences, SequenceAnswer, SequenceAsk


class SequenceServicer(indexer_pb2_grpc.SequenceServiceServicer):
    """Messages in and out; what may be asked is decided in the app."""

    def __init__(self, sequences: ReadSequences) -> None:
        self._sequences = sequences

    async def GetSequence(self, request: pb.GetSequenceRequest, _context: Any) -> pb.GetSequenceResponse:
        """One user."""
        [answer] = await self._sequences.get([request.user_id], _ask(request))
        return _response(answer)

    async def BatchGetSequences(
        self, request: pb.BatchGetSequencesRequest, _context: Any
    ) -> pb.BatchGetSequencesResponse:
        """Many users."""
        answers = await self._sequences.get(request.user_ids, _ask(request))
        return pb.BatchGetSequencesResponse(sequences=map(_response, answers))

    async def DescribeSequence(self, request: pb.DescribeSequenceRequest, _context: Any) -> pb.DescribeSequenceResponse:
        """Schema and quality."""
        found = self._sequences.describe(request.sequence)
        return pb.DescribeSequenceResponse(
            name=found.definition.name,
            definition_version=found.definition.version,
            arrow_schema=_schema_bytes(found.schema),
            freshness_p50_s=found.quality.freshness_p50_s,
            freshness_p99_s=found.quality.freshness_p99_s,
            completeness_ratio=found.quality.completeness_ratio,
            coverage_ratio=found.quality.coverage_ratio,
            definitions_version=found.definitions_version,
        )


def _ask(request: pb.GetSequenceRequest | pb.BatchGetSequencesRequest) -> SequenceAsk:
    return SequenceAsk(request.sequence, request.max_events, tuple(request.columns), request.tenant)


def _response(answer: SequenceAnswer) -> pb.GetSequenceResponse:
    return pb.GetSequenceResponse(
        events=batch_to_table(answer.events.rows),
        sequence_version=answer.events.version,
        newest_event_time_ms=answer.newest_event_time_ms,
        as_of_ms=answer.as_of_ms,
        completeness_ratio=answer.completeness_ratio,
        definitions_version=answer.definitions_version,
        num_total=answer.events.num_total,
    )


def _schema_bytes(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())
