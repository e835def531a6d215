"""A proxy in front of a Kafka broker that clients do not leave: where the broker tells its address, it puts its own.

It reads the frames (length, then for requests: API key, version, correlation id; for answers: correlation id), so that
the broker's acknowledgement of a write can get lost while everything else passes.
"""

import asyncio
import random
import struct
from contextlib import suppress

from e2e.chaos.proxy import Proxy

HOST = b"127.0.0.1"
PRODUCE, METADATA, FIND_COORDINATOR = 0, 3, 10
LENGTH, REQUEST, ANSWER = struct.Struct(">i"), struct.Struct(">hhi"), struct.Struct(">i")
SHARE_LOST = 0.3  # of acknowledgements, while they get lost


class KafkaProxy(Proxy):
    """As a proxy; its further fault is `lost_acks`: the broker has written, the connection ends before it says so."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        super().__init__(target_port, seed)
        self._chance_of_acks = random.Random(seed)
        self.num_lost_acks = 0

    async def _join_streams(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        keys: dict[int, int] = {}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._requests(near[0], far[1], keys))
            tasks.create_task(self._answers(far[0], near[1], keys))

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keys: dict[int, int]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                key, _, number = REQUEST.unpack_from(frame)
                keys[number] = key
                await self._send(writer, frame)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keys: dict[int, int]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                key = keys.pop(ANSWER.unpack_from(frame)[0], -1)
                if key == PRODUCE and self.fault == "lost_acks" and self._chance_of_acks.random() < SHARE_LOST:
                    self.num_lost_acks += 1
                    break
                await self._send(
                    writer, self._with_own_address(frame) if key in (METADATA, FIND_COORDINATOR) else frame
                )
        writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        writer.write(LENGTH.pack(len(frame)) + frame)
        await writer.drain()

    def _with_own_address(self, frame: bytes) -> bytes:
        """Host and port stand side by side in both answers, so the frame keeps its length."""
        return frame.replace(HOST + LENGTH.pack(self._target_port), HOST + LENGTH.pack(self.port))


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Raises: IncompleteReadError at the end."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return await reader.readexactly(length)
