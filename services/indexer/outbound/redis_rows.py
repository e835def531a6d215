"""Stored rows and the schemas they were written with, which readers of any version must find."""

from collections.abc import Collection

import pyarrow as pa

from chassis.errors import Corrupt
from protos import event_schema
from services.indexer.domain.row_codec import RowCodec, row_starts, schema_id
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_scripts import Argument

MAX_KNOWN = 16  # schemas that this process writes: one per sequence, and those of the definitions before


class RedisRows:
    """Decodes rows of any schema that was ever remembered."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._codecs: dict[bytes, RowCodec] = {}
        self._known: list[tuple[pa.Schema, tuple[RowCodec, tuple[Argument, ...]]]] = []

    def codec(self, schema: pa.Schema) -> RowCodec:
        """The one codec of this schema: making one costs more than encoding a small envelope."""
        return self._remembered(schema)[0]

    def remember(self, schema: pa.Schema) -> tuple[Argument, ...]:
        """The command that makes rows of this schema readable; sent with every write, so that a flush heals."""
        return self._remembered(schema)[1]

    def _remembered(self, schema: pa.Schema) -> tuple[RowCodec, tuple[Argument, ...]]:
        for known, entry in self._known:  # a few; to hash a schema takes longer than to compare them all
            if known.equals(schema):
                return entry
        codec = RowCodec(schema)
        command = ("HSETNX", redis_keys.SCHEMAS, codec.schema_id, codec.schema.serialize().to_pybytes())
        entry = (self._codecs.setdefault(codec.schema_id, codec), command)
        self._known = [(schema, entry), *self._known[: MAX_KNOWN - 1]]
        return entry

    async def decode(self, data: bytes, columns: Collection[str] | None = None) -> list[pa.RecordBatch]:
        """The rows with those of `columns` (None: all) that they have. Raises: Corrupt, Unavailable."""
        parts = []
        for found, starts in row_starts(data):
            codec = self._codecs.get(found) or await self._load(found)
            names = [name for name in codec.schema.names if columns is None or name in columns]
            parts.append(codec.decode(data, starts, names))
        return parts

    def core_field(self, name: str) -> pa.Field:
        """The field of a column that every row has."""
        return event_schema.ACCEPTED.field(name)

    async def _load(self, found: bytes) -> RowCodec:
        [content] = await self._connection.read([("HGET", redis_keys.SCHEMAS, found)])
        if content is None:
            raise Corrupt(f"rows of schema {found.hex()}, which nobody remembered", reason="unknown_schema")
        schema = pa.ipc.read_schema(pa.py_buffer(content))
        if schema_id(schema) != found:
            raise Corrupt(f"schema {found.hex()} is stored as {schema_id(schema).hex()}", reason="unknown_schema")
        return self._codecs.setdefault(found, RowCodec(schema))
