"""The typed attributes of every event type as columns."""

from sequences.definitions.enrichment import Column, Enrichment

attributes = Enrichment(
    name="attributes",
    owner="feed",
    executor="validate_schema",
    reads=("event_type", "attributes"),
    description="Parses the attributes once, by the event type's schema.",
    writes=(
        Column(name="dwell_s", type="float32"),
        Column(name="value_micros", type="int64"),
        Column(name="query", type="string"),
        Column(name="rating", type="float32"),
        Column(name="position", type="int64"),
        Column(name="board_id", type="string"),
    ),
)
query_text = Enrichment(
    name="query_text",
    owner="search",
    executor="normalise_text",
    reads=("query",),
    event_types=("search",),
    description="The query as retrieval compares it.",
    writes=(Column(name="query_normalised", type="string"),),
)
