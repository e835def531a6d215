"""A sequence gets the events of its types that its filters let through; others go on as they are."""

import pytest

from sequences.definitions.sequence import Filter
from services.indexer.domain.routing import Routing
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (Filter(column="surface", operator="==", value="home"), ["event-1"]),
        (Filter(column="surface", operator="!=", value="home"), ["event-2", "event-3"]),
        (Filter(column="surface", operator="in", value=["related", "search"]), ["event-2", "event-3"]),
        (Filter(column="pin_price_band", operator=">", value=2), ["event-3"]),  # null fulfils nothing
    ],
)
def test_a_filter_keeps_what_fulfils_it(condition: Filter, kept: list[str]) -> None:
    known = definitions()
    engagement = known.sequences["engagement"].model_copy(update={"filters": (condition,)})
    filtered = known.model_copy(update={"sequences": {**known.sequences, "engagement": engagement}})
    events = [
        event(1, surface="home", pin_price_band=1),
        event(2, surface="related"),
        event(3, surface="search", pin_price_band=4),
    ]
    writes = Routing(filtered).route(envelope(events), NOW_MS)
    [found] = [rows.event_ids for rows in writes.sequences if rows.sequence == "engagement"]
    assert found == kept


def test_a_sequence_that_gets_nothing_is_not_written() -> None:
    known = definitions()
    never = Filter(column="surface", operator="==", value="nowhere")
    engagement = known.sequences["engagement"].model_copy(update={"filters": (never,)})
    filtered = known.model_copy(update={"sequences": {**known.sequences, "engagement": engagement}})
    writes = Routing(filtered).route(envelope([event(1)]), NOW_MS)
    assert "engagement" not in {rows.sequence for rows in writes.sequences}
