"""The proxy in front of a broker keeps its clients, and can lose an acknowledgement of what was written."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from e2e.chaos.kafka_proxy import ANSWER, HOST, LENGTH, METADATA, PRODUCE, REQUEST, KafkaProxy, _frame

FETCH = 1


class FakeBroker:
    """Counts what it was asked and answers with its own address."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                key, _, number = REQUEST.unpack_from(await _frame(reader))
                self.asked.append(key)
                answer = ANSWER.pack(number) + HOST + LENGTH.pack(self.port)
                writer.write(LENGTH.pack(len(answer)) + answer)
        writer.close()


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    one = FakeBroker()
    server = await one.start()
    yield one
    server.close()
    await asyncio.sleep(0.05)  # its connections hear that their peers are gone


@pytest.fixture
async def proxy(broker: FakeBroker) -> AsyncIterator[KafkaProxy]:
    one = KafkaProxy(broker.port)
    await one.start()
    yield one
    await one.stop()


async def ask(proxy: KafkaProxy, key: int, number: int = 7) -> bytes:
    """The answer to one request on a connection of its own. Raises: IncompleteReadError, OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        frame = REQUEST.pack(key, 0, number)
        writer.write(LENGTH.pack(len(frame)) + frame)
        return await _frame(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_clients_are_told_the_proxys_address(proxy: KafkaProxy) -> None:
    answer = await ask(proxy, METADATA)
    assert answer == ANSWER.pack(7) + HOST + struct.pack(">i", proxy.port)


async def test_other_answers_are_passed_on_as_they_are(proxy: KafkaProxy, broker: FakeBroker) -> None:
    assert await ask(proxy, FETCH) == ANSWER.pack(7) + HOST + struct.pack(">i", broker.port)


async def test_what_was_written_may_lose_its_acknowledgement_and_nothing_else_does(
    proxy: KafkaProxy, broker: FakeBroker
) -> None:
    proxy.set("lost_acks")
    num_lost = 0
    for _ in range(100):
        try:
            await ask(proxy, PRODUCE)
        except (OSError, asyncio.IncompleteReadError):
            num_lost += 1
        await ask(proxy, FETCH)
    assert broker.asked.count(PRODUCE) == 100, "the broker gets every write"
    assert num_lost == proxy.num_lost_acks and 10 < num_lost < 50


async def test_it_can_be_cut_as_any_proxy(proxy: KafkaProxy) -> None:
    proxy.set("cut")
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await ask(proxy, FETCH)
