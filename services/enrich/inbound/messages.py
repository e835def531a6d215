"""Messages of enrich's contracts to domain words and back."""

import pyarrow as pa
from google.protobuf.message import DecodeError

from chassis.errors import Corrupt, Invalid
from protos import event_schema
from protos.enrich.v1 import enrich_pb2 as pb
from protos.ingest.v1 import ingest_pb2
from protos.pins.v1 import pins_pb2
from protos.tables import batch_to_table
from protos.tensors import tensor_to_numpy
from sequences.engine.result import RowFailure, StepRun
from services.enrich.app.preview_event import Preview
from services.enrich.domain.pin import PublishedPin

MS_PER_S = 1000.0


def to_pin(payload: bytes) -> PublishedPin:
    """A value of pins.published. Raises: Corrupt, Invalid."""
    try:
        pin = pins_pb2.Pin.FromString(payload)
    except DecodeError as error:
        raise Corrupt(f"{len(payload)} bytes are no Pin: {error}") from error
    if not pin.pin_id:
        raise Invalid("pin has no id", field="pin_id", reason="missing_field")
    given = tensor_to_numpy(pin.given_vector).ravel().tolist() if pin.HasField("given_vector") else None
    return PublishedPin(
        pin_id=pin.pin_id,
        payload=payload,
        title=pin.title,
        description=pin.description,
        topics=tuple(pin.topics),
        locale=pin.locale,
        created_time_ms=pin.created_time_ms,
        image=pin.image,
        given_vector=given,
        has_link=bool(pin.link),
        has_picture=bool(pin.image or pin.image_url),
        quality=dict(pin.quality),
        safety_labels=tuple(pin.safety_labels),
    )


def to_event(event: ingest_pb2.Event, received_time_ms: int) -> pa.RecordBatch:
    """An accepted batch of one row."""
    row = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "event_type": event.event_type,
        "event_time_ms": event.event_time_ms,
        "received_time_ms": received_time_ms,
        "pin_id": event.pin_id,
        "surface": event.surface,
        "request_id": event.request_id,
        "traceparent": "",
        "attributes": event.attributes_json,
    }
    return pa.RecordBatch.from_pylist([row], schema=event_schema.ACCEPTED)


def to_preview(preview: Preview) -> pb.PreviewEventResponse:
    """Runs in order, up to the one that ended it."""
    result = preview.result
    failures = {failure.enrichment: failure for failure in result.failures}
    response = pb.PreviewEventResponse(
        is_kept=result.batch.num_rows == 1,
        filtered_by=next(iter(result.filtered), ""),
        runs=[
            _to_run(run, failures.get(run.enrichment), run.enrichment in result.filtered)
            for run in result.steps
            if run.num_in
        ],
        definitions_version=preview.definitions_version,
    )
    if response.is_kept:
        response.row.CopyFrom(batch_to_table(preview.row))
    return response


def _to_run(run: StepRun, failure: RowFailure | None, is_filtered: bool) -> pb.ExecutorRun:
    why = failure.reason if failure else ("filtered" if is_filtered else "")
    return pb.ExecutorRun(
        enrichment=run.enrichment,
        executor=run.executor,
        duration_ms=run.duration_s * MS_PER_S,
        is_kept=run.num_kept == 1,
        failure=why,
        columns_written=run.columns,
    )
