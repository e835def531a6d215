"""What people buy."""

from sequences.definitions.event_type import Attribute, EventType

conversion = EventType(
    name="conversion",
    owner="shopping",
    description="A purchase that followed a pin.",
    attributes=(Attribute(name="value_micros", type="int64", minimum=0, maximum=1e15),),
)
