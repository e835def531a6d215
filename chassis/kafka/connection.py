"""Where Kafka is and who we are to it; settings every client of ours shares."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.kafka.security import PLAINTEXT, KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.tasks import cut

REQUEST_TIMEOUT_MS = 12_000  # above the session: a join may wait for the whole session of a dead member
SESSION_TIMEOUT_MS = 10_000  # a dead member's partitions move after it
HEARTBEAT_MS = 500  # makes a rebalance last half a second and not three
RETRY_S = 0.5
MIN_CLOSE_S = 0.2
CLOSE_WITHIN_S = 2.0
CONNECT_ENDS_WITHIN_S = 1.0  # a few milliseconds while the broker is there


@dataclass(frozen=True)
class Connection:
    """`bootstrap` is host:port, comma-separated; `zone` becomes the consumers' rack. `group_instance_id` makes static
    members: a restart within the session moves no partition, and a scale-down leaves them unread for that long."""

    bootstrap: str
    zone: str
    instance: str
    group_instance_id: str = ""
    security: KafkaSecurity = PLAINTEXT

    def client(self, purpose: str) -> dict[str, Any]:
        """Arguments of any aiokafka client. Raises: Invalid naming a file of the security that cannot be used."""
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": f"{self.instance}-{purpose}".replace(" ", "-"),
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            "retry_backoff_ms": 200,
            "metadata_max_age_ms": 30_000,
            **self.security.client(),
        }

    def consumer(self, purpose: str) -> dict[str, Any]:
        """Arguments of any aiokafka consumer: earliest, by hand, from the own rack."""
        return self.client(purpose) | {
            "client_rack": self.zone or None,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 500,
            "max_partition_fetch_bytes": 4 << 20,
        }

    def member(self, purpose: str, group: str) -> dict[str, Any]:
        """Arguments of a member of a group."""
        return self.consumer(purpose) | {
            "group_id": group,
            "group_instance_id": self.group_instance_id or None,
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "rebalance_timeout_ms": SESSION_TIMEOUT_MS,
            "max_poll_interval_ms": 300_000,
        }


async def connect(client: Any, ends_within_s: float = CONNECT_ENDS_WITHIN_S) -> None:
    """Start a consumer or producer of aiokafka, or a Faust app. Raises: KafkaError, OSError.

    A start that is cancelled halfway would leave a connection open that nothing knows of, so it is first let end.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({starting}, timeout=ends_within_s)
        finally:
            await cut([starting])
        raise


async def disconnect(client: Any, within_s: float) -> str:
    """Stop a consumer or producer of aiokafka within a limit; returns what went wrong, or nothing.

    While the broker is away, aiokafka's own `stop` takes for ever, or raises the CancelledError of a task of its own,
    which its caller would take for a cancel of itself, and leaves its group membership and connections open.
    """
    give_up = Deadline.after(max(0.1, within_s))
    trouble = await _bounded(client.stop, give_up)
    if trouble:
        for name in ("_coordinator", "_client"):  # there is no public way to what `stop` has left
            if (left := getattr(client, name, None)) is not None:
                await _bounded(left.close, give_up)
    return trouble


async def _bounded(close: Callable[[], Awaitable[Any]], give_up: Deadline) -> str:
    closing = asyncio.ensure_future(close())
    await asyncio.wait({closing}, timeout=max(MIN_CLOSE_S, give_up.remaining_s()))
    if not closing.done():
        closing.cancel()
        await asyncio.wait({closing}, timeout=MIN_CLOSE_S)
        return "took too long"
    if closing.cancelled():
        return "cut by aiokafka"
    error = closing.exception()
    return f"{type(error).__name__}: {error}" if error is not None else ""


async def missing_topics(connection: Connection, topics: Sequence[Topic]) -> list[str]:
    """Names of `topics` that Kafka does not have. Raises: Unavailable."""
    admin = AIOKafkaAdminClient(**connection.client("admin"))
    try:
        await connect(admin)
        known = set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {connection.bootstrap} cannot be reached: {type(error).__name__}") from error
    finally:
        await _bounded(admin.close, Deadline.after(CLOSE_WITHIN_S))  # which swallows a cancel meant for us
    return [topic.name for topic in topics if topic.name not in known]


async def wait_for_topics(connection: Connection, topics: Sequence[Topic], say: Callable[[str], None]) -> None:
    """Return when Kafka is there and has all `topics`; `say(why)` hears what is waited for."""
    while True:
        try:
            missing = await missing_topics(connection, topics)
            if not missing:
                return
            say(f"topics are missing, or may not be seen: {', '.join(missing)}")
        except Unavailable as error:
            say(error.message)
        await asyncio.sleep(RETRY_S)
