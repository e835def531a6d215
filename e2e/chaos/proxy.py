"""A TCP proxy on loopback, in this process: one per link, made slow, cut, lossy or half-open while connections live."""

import asyncio
import random
from contextlib import suppress
from typing import Any

CHUNK_BYTES = 65_536
SHARE_RESET = 0.02  # of chunks, on a lossy link


class Proxy:
    """Forwards `port` to the target; `fault` is "" or one of slow, cut, lossy, half_open and takes effect at once."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self.fault = ""
        self.delay_s = 0.0
        self.port = 0
        self._target_port = target_port
        self._chance = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._handling: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self.reset()
        await asyncio.gather(*self._handling, return_exceptions=True)

    def set(self, fault: str, delay_s: float = 0.0) -> None:
        """Begin a fault, or end it with ""; a cut link loses the connections it has."""
        self.fault, self.delay_s = fault, delay_s
        if fault == "cut":
            self.reset()

    def reset(self) -> None:
        """Abort every connection: both ends see a reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a handler of asyncio runs as a task
        self._handling.add(task)
        try:
            await self._join(reader, writer)
        finally:
            self._handling.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "cut":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await self._join_streams((reader, writer), (far_reader, far_writer))
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _join_streams(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Return when both ways have ended."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forward(near[0], far[1]))
            tasks.create_task(self._forward(far[0], near[1]))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.fault == "half_open":
                    continue  # read and never passed on: the peer looks alive and says nothing
                if self.fault == "slow":
                    await asyncio.sleep(self.delay_s)
                if self.fault == "lossy" and self._chance.random() < SHARE_RESET:
                    break
                writer.write(chunk)
                await writer.drain()
            writer.transport.abort() if self.fault == "lossy" else writer.close()
