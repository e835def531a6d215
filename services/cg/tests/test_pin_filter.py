"""Which pins a request may get: policy, prices, locale and exclusions, inside the search."""

from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from chassis.testing import eventually
from protos.releases import encode_release
from protos.topics import DEFINITIONS_RELEASED
from sequences.definitions.compile import write_bundle
from sequences.definitions.definitions import parse
from sequences.definitions.testing import repository_definitions
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter, language_of
from services.cg.outbound.numpy_pin_copies import NumpyPinCopies
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.world import pin

LABELS = ("sensitive", "violent", "spam")
PINS = st.lists(
    st.builds(
        lambda locale, labels, price: (locale, tuple(sorted(labels)), price),
        st.sampled_from(["", "en-US", "de"]),
        st.sets(st.sampled_from(LABELS)),
        st.sampled_from([0, 500_000, 10_000_000, 99_000_000]),
    ),
    max_size=12,
)


@given(
    PINS,
    st.sampled_from(["", "en", "de-DE", "fr"]),
    st.sets(st.sampled_from(LABELS)),
    st.sampled_from([0.0, 1.0, 10.0]),
    st.sampled_from([0.0, 10.0, 50.0]),
    st.sets(st.integers(0, 12)),
)
def test_allowed_are_the_pins_within_every_bound(
    given_pins: list[tuple[str, tuple[str, ...], int]],
    locale: str,
    excluded_labels: set[str],
    min_price: float,
    max_price: float,
    excluded: set[int],
) -> None:
    pins = [
        replace(pin(number), locale=where, safety_labels=labels, price_micros=price)
        for number, (where, labels, price) in enumerate(given_pins)
    ]
    index = PinIndex()
    for each in pins:
        index.upsert(each)
    wanted = PinFilter(locale, [pin(n).pin_id for n in excluded], frozenset(excluded_labels), min_price, max_price)
    snapshot = index.snapshot()
    found = {snapshot.pin_ids[row] for row in np.flatnonzero(snapshot.allowed(wanted)).tolist()}
    excluded_ids = set(wanted.excluded_pins)
    assert found == {each.pin_id for each in pins if _passes(each, wanted) and each.pin_id not in excluded_ids}


def _passes(one: IndexedPin, wanted: PinFilter) -> bool:
    price, language = one.price_micros / 1e6, language_of(one.locale)
    is_of_language = not wanted.locale or not language or language == language_of(wanted.locale)
    is_clean = not set(one.safety_labels) & wanted.excluded_labels
    is_dear_enough = not wanted.min_price or not price or price >= wanted.min_price
    return is_of_language and is_clean and is_dear_enough and (not wanted.max_price or price <= wanted.max_price)


def test_labels_survive_compaction_and_the_copy_on_disk(tmp_path: Path) -> None:
    index = PinIndex()
    for number in range(40):
        index.upsert(replace(pin(number), safety_labels=(LABELS[number % 3],)))
    for number in range(0, 40, 2):
        index.remove(pin(number).pin_id)
    compaction = index.begin_compaction()
    compaction.run()
    index.upsert(replace(pin(41), safety_labels=("new",)))
    assert index.finish_compaction(compaction)
    copies, again = NumpyPinCopies(tmp_path), PinIndex()
    copies.keep(index.snapshot())
    stored = copies.load()
    assert stored is not None
    again.restore(stored)
    again.upsert(replace(pin(43), safety_labels=("newest",)))
    wanted = PinFilter(excluded_labels=frozenset({"sensitive", "new"}))
    for one, others in ((index, set()), (again, {pin(43).pin_id})):
        snapshot = one.snapshot()
        found = {snapshot.pin_ids[row] for row in np.flatnonzero(snapshot.allowed(wanted)).tolist()}
        assert found == {pin(n).pin_id for n in range(1, 40, 2) if LABELS[n % 3] != "sensitive"} | others


async def test_a_surface_never_gets_pins_with_its_excluded_labels(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as running:
        running.publish(replace(pin(900), quality_score=1.0, safety_labels=("violent",)))
        await eventually_there(running, pin(900).pin_id, is_there=True)
        definitions = repository_definitions()
        home = definitions.surfaces["home"].model_copy(update={"excluded_labels": ("violent",)})
        changed = definitions.model_copy(update={"surfaces": {**definitions.surfaces, "home": home}})
        release = write_bundle(parse(changed.canonical_json()), running.store)
        running.bus.append(DEFINITIONS_RELEASED, encode_release(release), release.name.encode(), None, {})
        await eventually_there(running, pin(900).pin_id, is_there=False)
        asked_by_name = await running.retrieve(num_candidates=2_000, generators=["popular"])
        assert pin(900).pin_id not in {each.pin_id for each in asked_by_name.candidates}


async def eventually_there(running: Running, pin_id: str, *, is_there: bool) -> None:
    async def check() -> bool:
        response = await running.retrieve(num_candidates=2_000)
        return (pin_id in {each.pin_id for each in response.candidates}) == is_there

    await eventually(check)


async def test_prices_bound_what_is_for_sale_and_nothing_else(tmp_path: Path) -> None:
    async with running_cg(tmp_path) as running:
        for number, price in ((900, 5), (901, 50)):
            running.publish(replace(pin(number), quality_score=1.0, price_micros=price * 1_000_000))
        await eventually_there(running, pin(901).pin_id, is_there=True)
        response = await running.retrieve(num_candidates=2_000, max_price_micros=10_000_000)
        found = {each.pin_id for each in response.candidates}
        assert pin(900).pin_id in found and pin(901).pin_id not in found and pin(1).pin_id in found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"min_price_micros": -1}, "min_price_micros"),
        ({"max_price_micros": -1}, "max_price_micros"),
        ({"min_price_micros": 5, "max_price_micros": 4}, "max_price_micros"),
    ],
)
async def test_bad_prices_are_refused_by_name(tmp_path: Path, fields: dict[str, int], field: str) -> None:
    async with running_cg(tmp_path, num_pins=3) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.retrieve(**fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (caught.value.details() or "")
