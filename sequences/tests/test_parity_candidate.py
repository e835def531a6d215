"""The bundle of a cut-over has one event type from the new version and everything else from the active one."""

from collections.abc import Mapping

import pytest

from chassis.errors import Invalid, NotFound
from sequences.definitions.definitions import Definitions, parse
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.sequence import Sequence
from sequences.definitions.testing import repository_definitions
from sequences.parity.candidate import candidate

ACTIVE = repository_definitions()


def changed(definitions: Definitions = ACTIVE, **rooms: Mapping[str, object]) -> Definitions:
    """With these definitions in place of others or besides them."""
    parts = {room: {**getattr(definitions, room), **found} for room, found in rooms.items()}
    return parse(definitions.model_copy(update=parts).canonical_json())


def min_dwell(min_dwell_s: float) -> dict[str, object]:
    return {
        "min_dwell": ACTIVE.enrichments["min_dwell"].model_copy(update={"parameters": {"min_dwell_s": min_dwell_s}})
    }


BOARD = Enrichment(
    name="board",
    owner="test",
    executor="normalise_text",
    reads=("board_id",),
    event_types=("save",),
    writes=(Column(name="board_normalised", type="string"),),
)


def test_only_the_type_and_its_enrichments_move() -> None:
    wanted = changed(enrichments={"board": BOARD, **min_dwell(9.0)})
    found = candidate(ACTIVE, wanted, ("save",))
    assert found.definitions == changed(enrichments={"board": BOARD})
    assert found.left_out == ("enrichments/min_dwell",)


def test_type_after_type_ends_at_the_wanted_version_itself() -> None:
    wanted = changed(enrichments={"board": BOARD, **min_dwell(9.0)})
    first = candidate(ACTIVE, wanted, ("save",)).definitions
    last = candidate(first, wanted, ("long_view",))
    assert last.definitions.version == wanted.version
    assert last.left_out == ()
    assert candidate(last.definitions, ACTIVE, ("save",)).definitions == changed(enrichments=min_dwell(9.0))


def test_an_event_type_of_its_own_moves_and_another_one_stays() -> None:
    events = {name: ACTIVE.events[name].model_copy(update={"retention_days": 7}) for name in ("save", "click")}
    found = candidate(ACTIVE, changed(events=events), ("save",)).definitions
    assert found.events["save"].retention_days == 7
    assert found.events["click"] == ACTIVE.events["click"]


def test_a_shared_enrichment_is_refused_naming_who_shares_it() -> None:
    features = ACTIVE.enrichments["pin_features"].model_copy(update={"timeout_s": 0.4})
    with pytest.raises(Invalid, match=r"'pin_features' changes also click, .*together \(click,conversion,") as error:
        candidate(ACTIVE, changed(enrichments={"pin_features": features}), ("save",))
    assert error.value.reason == "shared_enrichment"


def test_types_that_share_an_enrichment_move_together() -> None:
    features = ACTIVE.enrichments["pin_features"].model_copy(update={"timeout_s": 0.4})
    wanted = changed(enrichments={"pin_features": features})
    assert candidate(ACTIVE, wanted, features.event_types).definitions.version == wanted.version


def test_sequences_of_the_type_alone_move_and_shared_ones_stay() -> None:
    negative = ACTIVE.sequences["negative"].model_copy(update={"max_events": 7})
    engagement = ACTIVE.sequences["engagement"].model_copy(update={"max_events": 7})
    wanted = changed(sequences={"negative": negative, "engagement": engagement})
    found = candidate(ACTIVE, wanted, ("hide",))
    assert found.definitions.sequences["negative"].max_events == 7
    assert found.definitions.sequences["engagement"] == ACTIVE.sequences["engagement"]
    assert found.left_out == ("sequences/engagement",)


def test_a_combination_that_is_not_valid_is_refused() -> None:
    own = Sequence(name="own", owner="test", event_types=("hide",), columns=("event_id", "board_normalised"))
    wanted = changed(enrichments={"board": BOARD}, sequences={"own": own})
    with pytest.raises(Invalid, match=r"does not fit .*board_normalised"):
        candidate(ACTIVE, wanted, ("hide",))


def test_no_change_and_unknown_types_are_refused() -> None:
    with pytest.raises(Invalid, match="nothing to cut over"):
        candidate(ACTIVE, changed(enrichments=min_dwell(9.0)), ("save",))
    with pytest.raises(NotFound, match="no event type 'wink'"):
        candidate(ACTIVE, ACTIVE, ("wink",))
