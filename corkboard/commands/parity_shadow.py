"""Starts and ends the shadow of one parity run."""

import asyncio
import fcntl
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from chassis.errors import Conflict, Unavailable
from chassis.kafka.connection import Connection
from chassis.kafka.group_start import delete_topics, start_group_at
from chassis.kafka.security import KafkaSecurity
from corkboard import releases
from corkboard.commands.output import Output
from corkboard.commands.parity_jobs import job, shadow_settings
from corkboard.local.control import ask
from corkboard.local.home import Home
from corkboard.local.run_file import RunFile
from corkboard.local.shadow import Shadow
from corkboard.session import Endpoints
from protos import topics

READY_WITHIN_S = 90.0
POLL_S = 0.3
MAX_REPLICATION = 3


@contextmanager
def running(shadow: Shadow, home: Home, endpoints: Endpoints, since_ms: int, output: Output) -> Iterator[None]:
    """The shadow is ready and reads what was accepted since then; afterwards nothing of it is left.

    Raises: Unavailable when it does not become ready, Conflict while another run has a shadow.
    """
    with _alone(home):
        yield from _running(shadow, home, endpoints, since_ms, output)


def _running(
    shadow: Shadow, home: Home, endpoints: Endpoints, since_ms: int, output: Output
) -> Generator[None, None, None]:
    ask(home.control_socket, "unshadow")  # an earlier run may have been killed
    clean(shadow, home, endpoints)
    asyncio.run(_prepare(shadow, home, endpoints.kafka, since_ms))
    try:
        names = ask(home.control_socket, "shadow", name=shadow.name, definitions=shadow.definitions_version)["names"]
        output.say(f"shadow {shadow.name} on {shadow.definitions_version} starts")
        _wait_ready(home, names)
        yield
    finally:
        ask(home.control_socket, "unshadow")
        clean(shadow, home, endpoints)
        asyncio.run(delete_topics(_connection(endpoints.kafka), shadow.topics))


def clean(shadow: Shadow, home: Home, endpoints: Endpoints) -> None:
    """Empty the shadow's store and lake. Raises: Unavailable."""
    job("emptying the shadow", ["services.indexer.offline.parity_clean"], shadow_settings(shadow, home, endpoints))


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    with (home.data / "parity.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process
        except OSError as error:
            raise Conflict("another parity run has a shadow; wait until it is done") from error
        yield


async def _prepare(shadow: Shadow, home: Home, kafka: str, since_ms: int) -> None:
    run = RunFile.read(home.state_file)
    async with releases.bus(kafka) as bus:
        await bus.ensure_topics(shadow.topics, min(MAX_REPLICATION, run.num_brokers if run else 1))
    await start_group_at(_connection(kafka), [topics.EVENTS_ACCEPTED], shadow.enrich_group, since_ms)


def _wait_ready(home: Home, names: list[str]) -> None:
    give_up_s = time.monotonic() + READY_WITHIN_S
    states: dict[str, str] = {}
    while time.monotonic() < give_up_s:
        rows = ask(home.control_socket, "status")["processes"]
        states = {row["name"]: row["state"] for row in rows if row["name"] in names}
        if len(states) == len(names) and set(states.values()) == {"ready"}:
            return
        time.sleep(POLL_S)
    logs = ", ".join(str(home.logs / f"{name}.log") for name in names)
    raise Unavailable(f"the shadow was not ready after {READY_WITHIN_S:.0f} s: {states}; see {logs}")


def _connection(kafka: str) -> Connection:
    return Connection(kafka, "", "corkboard-cli", security=KafkaSecurity.of_environment())
