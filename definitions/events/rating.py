"""Explicit ratings, which imported data sets carry."""

from sequences.definitions.event_type import Attribute, EventType

rating = EventType(
    name="rating",
    owner="research",
    retention_days=18_250,  # public data sets span decades
    max_lateness_s=31_536_000,
    description="A person gave the pin a mark.",
    attributes=(Attribute(name="rating", type="float32", is_required=True, minimum=0, maximum=10),),
)
