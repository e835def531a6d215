"""Announces trained generators together with the user vectors that belong to them."""

from collections.abc import Sequence

from chassis.bundles import Release
from chassis.clock import SYSTEM_CLOCK
from chassis.kafka.bus import Bus
from modeling.release import announce
from services.cg.offline.fit_generators import Fitted
from services.cg.offline.fit_shopping import ShoppingFiles
from services.cg.offline.user_embeddings import Encoded, publish


async def release(bus: Bus, releases: Sequence[Release], fitted: Fitted, shopping: ShoppingFiles | None = None) -> None:
    """User vectors first, so that they are there when their encoder is in use; then the bundles."""
    version_of = {item.name: item.version for item in releases}
    for encoder, vector_UD in (("two_tower", fitted.user_UV), ("contextual", fitted.hidden_UD)):
        await publish(bus, Encoded(encoder, version_of[encoder], fitted.user_ids, vector_UD), SYSTEM_CLOCK)
    if shopping is not None:
        users = Encoded("shopping", version_of["shopping"], shopping.user_ids, shopping.user_UV)
        await publish(bus, users, SYSTEM_CLOCK)
    await announce(bus, releases)
