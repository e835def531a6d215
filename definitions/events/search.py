"""What people look for."""

from sequences.definitions.event_type import Attribute, EventType

search = EventType(
    name="search",
    owner="search",
    needs_pin=False,
    retention_days=90,
    description="A query was sent.",
    attributes=(Attribute(name="query", type="string", is_required=True, max_length=512),),
)
