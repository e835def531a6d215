"""Rows that never reach a sequence."""

from sequences.definitions.enrichment import Enrichment

drop_bots = Enrichment(
    name="drop_bots",
    owner="trust",
    executor="drop_bots",
    reads=("user_id",),
    description="Known automatic clients; by user id only, so that batch and stream agree.",
    parameters={"user_id_prefixes": ["bot-", "crawler-", "monitor-"]},
)
min_dwell = Enrichment(
    name="min_dwell",
    owner="feed",
    executor="min_dwell",
    reads=("dwell_s",),
    event_types=("long_view",),
    description="A glance is not a long view.",
    parameters={"min_dwell_s": 1.0},
)
