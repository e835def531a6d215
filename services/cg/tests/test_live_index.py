"""The index while it is written to, searched and compacted at once; its graphs; its copy on disk."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Corrupt
from modeling.arrays import Floats, Ints
from services.cg.app.keep_index import IndexKeeper
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.generators.related import RelatedPins
from services.cg.domain.index.aligned_rows import AlignedRows
from services.cg.domain.index.live_search import LiveSearch, Searches
from services.cg.domain.index.vector_search import Kind
from services.cg.domain.pin_index import PinIndex, PinSnapshot
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import RetrievalQuery
from services.cg.outbound.numpy_pin_copies import FILE, NumpyPinCopies
from services.cg.tests.world import NOW_MS, pin, pin_id

NUM_START = 4_000
WIDTH = 16


class CountingMeter:
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def size(self, num_pins: int) -> None: ...

    def refused(self, reason: str) -> None: ...

    def compacted(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def stale(self, is_stale: bool) -> None: ...


def _keeper(index: PinIndex, searches: Searches, folder: Path, meter: CountingMeter) -> IndexKeeper:
    return IndexKeeper(index, Catalogue(), searches, NumpyPinCopies(folder), lambda: True, meter, SYSTEM_CLOCK)


def _unit(number: int) -> Floats:
    vector = np.random.default_rng(number).normal(size=WIDTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _nearest(index: PinIndex, search: LiveSearch, number: int, k: int = 3) -> list[str]:
    snapshot = index.snapshot()
    found = search.search(snapshot, _unit(number), snapshot.allowed(PinFilter()), k)
    return [snapshot.pin_ids[row] for row in found.row_K.tolist()]


@pytest.mark.parametrize("kind", ["exact", "ann"])
async def test_a_confirmed_pin_is_always_found_and_a_removed_one_never_while_compacting(
    tmp_path: Path, kind: Kind
) -> None:
    index, searches, meter = PinIndex(), Searches(kind), CountingMeter()
    search = searches.new(lambda snapshot: snapshot.columns.content_NW)
    keeper = _keeper(index, searches, tmp_path, meter)
    for number in range(NUM_START):
        index.upsert(pin(number, content_vector=_unit(number)))
    searches.prepare(index.snapshot())
    removed, alive, is_over = set[int](), set(range(NUM_START)), False

    async def write() -> None:
        """Remove from the front, add at the end, republish in between."""
        nonlocal is_over
        for number in range(3_000):
            index.remove(pin_id(number))
            index.upsert(pin(NUM_START + number, content_vector=_unit(NUM_START + number)))
            index.upsert(pin(3_500, content_vector=_unit(3_500), quality_score=number / 3_000))
            removed.add(number)
            alive.discard(number)
            alive.add(NUM_START + number)
            if number % 8 == 0:
                await asyncio.sleep(0.002)
        is_over = True

    async def compact() -> None:
        while not is_over:
            await keeper.compact()
            await asyncio.sleep(0)

    async def read() -> int:
        random, num_reads = np.random.default_rng(0), 0
        while not is_over:
            here = int(random.choice(sorted(alive)))
            found = await asyncio.to_thread(_nearest, index, search, here)
            assert here in removed or found[0] == pin_id(here)
            assert _nearest(index, search, 3_500)[0] == pin_id(3_500)
            if removed:
                gone = int(random.choice(sorted(removed)))
                assert pin_id(gone) not in _nearest(index, search, gone)
            num_reads += 1
        return num_reads

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(compact())
        reading = tasks.create_task(read())
    assert reading.result() >= 20
    assert meter.outcomes.count("done") >= 1, "nothing was compacted: the test did not test"
    assert search.way(index.snapshot()) == kind


async def test_a_graph_is_built_beside_and_extended_when_many_rows_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cg.domain.index.live_search.MIN_NEW_ROWS", 100)
    index, searches = PinIndex(), Searches("ann")
    search = searches.new(lambda snapshot: snapshot.columns.content_NW)
    for number in range(500):
        index.upsert(pin(number, content_vector=_unit(number)))
    assert search.way(index.snapshot()) == "exact"
    searches.prepare(index.snapshot())
    assert search.way(index.snapshot()) == "ann"
    for number in range(500, 700):
        index.upsert(pin(number, content_vector=_unit(number)))
    assert _nearest(index, search, 650)[0] == pin_id(650), "before the graph has it"
    searches.prepare(index.snapshot())
    assert _nearest(index, search, 650)[0] == pin_id(650)


def test_searches_of_replaced_generators_are_forgotten() -> None:
    searches = Searches("exact")
    kept = RelatedPins(searches.new)
    RelatedPins(searches.new)
    assert len(searches.in_use()) == 1
    assert kept.name == "related"


def test_what_is_known_of_a_row_moves_with_it_and_is_computed_once() -> None:
    computed: list[str] = []

    def length(snapshot: PinSnapshot, start: int, end: int) -> Ints:
        computed.extend(snapshot.pin_ids[start:end])
        return np.asarray([int(name[-3:]) for name in snapshot.pin_ids[start:end]], dtype=np.int64)

    index, rows = PinIndex(), AlignedRows(length, np.zeros(0, dtype=np.int64))
    for number in range(50):
        index.upsert(pin(number))
    old = index.snapshot()
    rows.of(old)
    for number in range(0, 50, 2):
        index.remove(pin_id(number))
    compaction = index.begin_compaction()
    compaction.run()
    rows.of(compaction.preview())
    index.upsert(pin(77))
    assert index.finish_compaction(compaction)
    assert rows.of(index.snapshot()).tolist() == [*range(1, 50, 2), 77]
    assert rows.of(old).tolist() == list(range(50)), "a request in flight still reads the old rows"
    assert len(computed) == 51


def test_a_copy_holds_the_same_pins(tmp_path: Path) -> None:
    index, copies = PinIndex(), NumpyPinCopies(tmp_path)
    assert copies.load() is None
    for number in range(40):
        index.upsert(pin(number, locale=("en-US", "de-DE")[number % 2], content_group=f"group-{number % 9}"))
    index.remove(pin_id(3))
    copies.keep(index.snapshot())
    again, kept = PinIndex(), copies.load()
    assert kept is not None
    again.restore(kept)
    again.upsert(pin(99, locale="fr-FR", content_group="group-new"))
    again.remove(pin_id(99))
    index.upsert(pin(99))
    index.remove(pin_id(99))
    assert _contents(again) == _contents(index)
    assert again.snapshot().num_duplicates == index.snapshot().num_duplicates
    generated = RelatedPins().generate(
        RetrievalQuery(again.snapshot(), again.snapshot().allowed(PinFilter("de")), NOW_MS, subject_pin_id=pin_id(5)),
        50,
    )
    assert len(generated.row_K) == 18


def _contents(index: PinIndex) -> dict[str, tuple[object, ...]]:
    snapshot = index.snapshot()
    return {
        snapshot.pin_ids[row]: (
            snapshot.columns.content_NW[row].tobytes(),
            snapshot.columns.topic_hash_NT[row].tobytes(),
            int(snapshot.columns.created_ms_N[row]),
            snapshot.group_name(row),
            int(snapshot.columns.language_N[row]),
        )
        for row in np.flatnonzero(snapshot.allowed(PinFilter())).tolist()
    }


def test_a_damaged_copy_is_refused(tmp_path: Path) -> None:
    index, copies = PinIndex(), NumpyPinCopies(tmp_path)
    for number in range(40):
        index.upsert(pin(number))
    copies.keep(index.snapshot())
    data = bytearray((tmp_path / FILE).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / FILE).write_bytes(bytes(data))
    with pytest.raises(Corrupt, match=FILE):
        copies.load()
