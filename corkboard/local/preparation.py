"""What must be there before services can be ready: topics, and definitions that somebody activated."""

import asyncio
from collections.abc import Callable

from corkboard import releases
from corkboard.local.home import Home
from protos import topics
from sequences.definitions.bundle import NAME

ANNOUNCED_BY = "corkboard up"


def prepare(home: Home, kafka: str, replication: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Create missing topics; compile and activate the repository's definitions when none are active yet."""

    async def work() -> None:
        async with releases.bus(kafka) as bus:
            await bus.ensure_topics(topics.ALL, replication)
            await bus.ensure_topics([topic.parked for topic in topics.ALL if topic.consumers], replication)
            active = await releases.read(bus, topics.DEFINITIONS_RELEASED)
            if NAME not in active:
                release = await asyncio.to_thread(releases.compile_to_bundle, str(home.bundles))
                await releases.announce(bus, topics.DEFINITIONS_RELEASED, release, ANNOUNCED_BY)
                say(f"definitions {release.version} activated")

    asyncio.run(work())
