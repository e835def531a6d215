"""Features of pins in Redis or Valkey: one value per pin, so that 2,000 pins are one MGET."""

import struct
from collections.abc import AsyncIterator, Mapping, Sequence

import pyarrow as pa

from services.indexer.domain.event_order import joined
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.row_codec import RowCodec
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_scripts import Call, script
from services.indexer.ports import PinRows

_VERSION = struct.Struct(">QQ")  # published time, enriched time
READS_PER_LIMIT = 500  # pins read within one read limit


class RedisPinStore:
    """A value is the pin's version and its row."""

    def __init__(self, connection: RedisConnection, rows: RedisRows) -> None:
        self._connection = connection
        self._rows = rows
        self._codec = RowCodec(PIN_SCHEMA)
        self._put_newer = script("put_newer")

    async def put(self, pins: PinRows) -> None:
        encoded = self._codec.encode(pins.rows)
        pin_ids = pins.rows.column("pin_id").to_pylist()
        versions = zip(pins.published_times_ms, pins.enriched_times_ms, strict=True)
        calls = [
            Call(self._put_newer, (redis_keys.pin(pin_id),), (_VERSION.pack(*version) + row, _VERSION.size, ""))
            for pin_id, version, row in zip(pin_ids, versions, encoded, strict=True)
        ]
        if calls:
            await self._connection.write([self._rows.remember(PIN_SCHEMA), *calls])

    async def delete(self, pin_ids: Sequence[str]) -> None:
        if pin_ids:
            await self._connection.write([("DEL", redis_keys.pin(pin_id)) for pin_id in pin_ids])

    async def read(self, pin_ids: Sequence[str], columns: Sequence[str]) -> pa.RecordBatch:
        schema = pa.schema([PIN_SCHEMA.field(name) for name in columns])
        if not pin_ids:
            return pa.RecordBatch.from_pylist([], schema=schema)
        weight = 1 + len(pin_ids) // READS_PER_LIMIT
        [values] = await self._connection.read([("MGET", *map(redis_keys.pin, pin_ids))], weight=weight)
        data = b"".join([value[_VERSION.size :] for value in values if value is not None])
        return joined(await self._rows.decode(data, columns), schema)

    async def enriched_times_ms(self, pin_ids: Sequence[str]) -> Mapping[str, int]:
        calls = [("GETRANGE", redis_keys.pin(pin_id), 0, _VERSION.size - 1) for pin_id in pin_ids]
        values = await self._connection.read(calls, weight=1 + len(pin_ids) // READS_PER_LIMIT) if calls else []
        return {pin_id: _VERSION.unpack(value)[1] for pin_id, value in zip(pin_ids, values, strict=True) if value}

    async def pin_ids(self) -> AsyncIterator[str]:
        async for key in self._connection.keys(f"{redis_keys.PIN_PREFIX}*"):
            yield key.decode().removeprefix(redis_keys.PIN_PREFIX)
