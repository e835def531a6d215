"""Hostile records of every topic: values that are wrong in one place, or are none, and what surrounds a value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from google.protobuf.message import Message

from chassis.kafka import arrow
from chassis.kafka.topic import Topic
from e2e.hostile import values
from e2e.hostile.messages import broken, changed
from protos import topics
from protos.blender.v1 import blender_pb2
from protos.bundles.v1 import bundles_pb2
from protos.indexer.v1 import indexer_pb2
from protos.pins.v1 import pins_pb2
from protos.quota.v1 import quota_pb2

MESSAGES: Mapping[str, type[Message]] = {
    topics.PINS_PUBLISHED.name: pins_pb2.Pin,
    topics.PINS_ENRICHED.name: pins_pb2.EnrichedPin,
    topics.EMBEDDINGS_PUBLISHED.name: indexer_pb2.UserEmbedding,
    topics.FEEDS_SERVED.name: blender_pb2.ServedFeed,
    topics.MODELS_RELEASED.name: bundles_pb2.BundleRelease,
    topics.DEFINITIONS_RELEASED.name: bundles_pb2.BundleRelease,
    topics.QUOTA_RULES.name: quota_pb2.RuleVersion,
    topics.QUOTA_USAGE.name: quota_pb2.UsageWindow,
}
"""Values of topics that are protobuf; the others are Arrow."""
MAX_RECORD_BYTES = 8 << 20
LARGEST = MAX_RECORD_BYTES - 200  # with what Kafka puts around it just taken; no room for what parking says of it

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class HostileRecord:
    """`is_poison` is certain where it is true: no consumer can make sense of the value."""

    name: str
    value: bytes | None
    key: bytes | None = b"hostile"
    headers: Headers = ()
    is_poison: bool = False


@dataclass(frozen=True)
class GoodRecord:
    """A real one that was found in the topic."""

    value: bytes
    key: bytes | None
    headers: Headers = field(default=())


def hostile_records(topic: Topic, good: GoodRecord) -> Iterator[HostileRecord]:
    """Around a real record of the topic; never one that would do what its sender may do anyway."""
    yield from _around(topic, good)
    yield from _protobuf(topic, good) if topic.name in MESSAGES else _arrow(good)


def _around(topic: Topic, good: GoodRecord) -> Iterator[HostileRecord]:
    if not topic.is_compacted:
        yield HostileRecord("no value", None, is_poison=True)
        yield HostileRecord("nothing", None, None, is_poison=True)
        yield HostileRecord("no key", good.value, None, good.headers)
    else:
        yield HostileRecord("a tombstone of nobody", None, b"nobody")
    yield HostileRecord("an empty value", b"", is_poison=topic.name not in MESSAGES)
    yield HostileRecord("as large as a record may be", b"\xff" * LARGEST, is_poison=True)
    for what, key in values.BYTES.items():
        yield HostileRecord(f"key: {what}", b"\xff\xff no value", key[:100_000], is_poison=True)
    for what, headers in _headers().items():
        yield HostileRecord(f"headers: {what}", good.value, good.key, headers)


def _headers() -> dict[str, Headers]:
    return {
        "none": (),
        "of a later schema": (("schema-version", b"999"), ("content-type", b"application/x-later")),
        "no UTF-8": (("traceparent", b"\xff\xfe"), ("ce_id", b"\xff")),
        "no trace": (("traceparent", b"00-zz-zz-zz"),),
        "without a value": (("traceparent", None), ("schema-version", None)),
        "twice": (("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"),) * 2,
        "very many": tuple((f"x-{number}", b"y" * 100) for number in range(500)),
        "control characters": (("a\r\nb", b"\x00\r\n"), ("", b"")),
        "parked before": (("parked-why", b"x"), ("parked-from", b"y")),
    }


def _protobuf(topic: Topic, good: GoodRecord) -> Iterator[HostileRecord]:
    kind = MESSAGES[topic.name]
    message = kind.FromString(good.value)
    other = next(each for each in MESSAGES.values() if each is not kind)
    for one in broken(message, other()):
        yield HostileRecord(one.name, one.raw, is_poison=not _parses(kind, one.raw))
    for one in changed(message):
        if len(one.raw) < values.LONG * 6 and one.raw != good.value:
            yield HostileRecord(one.name, one.raw, good.key)


def _parses(kind: type[Message], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except Exception:  # whatever protobuf raises
        return False
    return True


def _arrow(good: GoodRecord) -> Iterator[HostileRecord]:
    batch = arrow.decode(good.value)
    for what, raw in _broken_streams(batch, good.value).items():
        yield HostileRecord(what, raw, is_poison=True)
    for name in batch.schema.names:
        yield HostileRecord(f"no column {name}", _encoded(_without(batch, name)))
        yield HostileRecord(f"{name} is a number", _encoded(_with(batch, name, pa.array([1.5] * batch.num_rows))))
        yield HostileRecord(
            f"{name} is null", _encoded(_with(batch, name, pa.nulls(batch.num_rows, _type(batch, name))))
        )
        for what, value in _values_for(_type(batch, name)).items():
            column = pa.array([value] * batch.num_rows, type=_type(batch, name))
            yield HostileRecord(f"{name} is {what}", _encoded(_with(batch, name, column)), good.key, good.headers)


def _broken_streams(batch: pa.RecordBatch, raw: bytes) -> dict[str, bytes]:
    nested = pa.array([[[[[[[[1]]]]]]]])
    return {
        "noise": b"\xff" * 1_000,
        "cut in half": raw[: len(raw) // 2],
        "without its last bytes": raw[:-20],
        "only the schema": raw[:200],
        "a length beyond the end": b"\xff\xff\xff\xff\xf0\xff\xff\x7f" + b"x" * 100,
        "text": b'{"event_id": "x"}',
        "other columns": _encoded(pa.record_batch({"x": [1, 2]})),
        "nested columns": _encoded(pa.record_batch({name: nested for name in batch.schema.names})),
        "no rows and no columns": _encoded(pa.record_batch([], names=[])),
    }


def _values_for(kind: pa.DataType) -> Mapping[str, object]:
    if pa.types.is_string(kind):
        return {what: text for what, text in values.TEXTS.items() if what != "long"} | {"long": "x" * 20_000}
    if pa.types.is_binary(kind):
        return values.BYTES
    return values.TIMES_MS if pa.types.is_int64(kind) else {}


def _type(batch: pa.RecordBatch, name: str) -> pa.DataType:
    return batch.schema.field(name).type


def _without(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    return batch.select([each for each in batch.schema.names if each != name])


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    columns = {each: batch.column(each) for each in batch.schema.names} | {name: column}
    return pa.RecordBatch.from_pydict(columns)


def _encoded(batch: pa.RecordBatch) -> bytes:
    return arrow.encode(batch)
