"""What people do with a pin in a feed."""

from sequences.definitions.event_type import Attribute, EventType

OWNER = "feed"

impression = EventType(
    name="impression",
    owner=OWNER,
    retention_days=30,
    description="The pin was on the screen.",
    attributes=(Attribute(name="position", type="int64", minimum=0, maximum=100_000),),
)
click = EventType(
    name="click",
    owner=OWNER,
    description="The pin was opened.",
    attributes=(Attribute(name="dwell_s", type="float32", minimum=0, maximum=86_400),),
)
save = EventType(
    name="save",
    owner=OWNER,
    description="The pin was put on a board.",
    attributes=(Attribute(name="board_id", type="string", max_length=128),),
)
long_view = EventType(
    name="long_view",
    owner=OWNER,
    description="The opened pin was looked at for a while.",
    attributes=(Attribute(name="dwell_s", type="float32", is_required=True, minimum=0, maximum=86_400),),
)
hide = EventType(name="hide", owner=OWNER, description="The person does not want to see the pin again.")
share = EventType(name="share", owner=OWNER, description="The pin was sent to somebody.")
