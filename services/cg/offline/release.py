"""Announces trained generators together with the user vectors that belong to them."""

from collections.abc import Sequence

from chassis.bundles import Release
from chassis.clock import SYSTEM_CLOCK
from chassis.kafka.bus import Bus
from modeling.release import announce
from services.cg.offline.fit_generators import Fitted
from services.cg.offline.user_embeddings import publish


async def release(bus: Bus, releases: Sequence[Release], fitted: Fitted) -> None:
    """User vectors first, so that they are there when their encoder is in use; then the bundles."""
    encoder_version = next(item.version for item in releases if item.name == "two_tower")
    await publish(bus, fitted.user_ids, fitted.user_UV, encoder_version, SYSTEM_CLOCK)
    await announce(bus, releases)
