"""Related pins: by content until a bundle is released, by content and the engagement graph from then on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chassis.errors import Corrupt, NotFound
from chassis.testing import eventually
from modeling.interactions import collect
from services.cg.domain.generators.related import GraphRelatedPins
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import RetrievalQuery
from services.cg.offline.fit_generators import Fitted
from services.cg.offline.pin_inputs import pin_features
from services.cg.offline.related_fitting import GRAPH_WEIGHT, FittedGraph, fit_related
from services.cg.outbound.bundle_model_files import ARRAYS, read_related, related_files
from services.cg.tests.running_cg import running_cg
from services.cg.tests.world import NOW_MS, NUM_PINS, pin, pin_id, training_data

NEW = 77


@pytest.fixture(scope="module")
def graph() -> FittedGraph:
    data = training_data()
    events = collect(data.histories, data.pins.pin_ids)
    return fit_related(events, pin_features(data.pins))


def read(graph: FittedGraph, folder: Path) -> GraphRelatedPins:
    for name, content in graph.files([pin_id(n) for n in range(NUM_PINS)], {}).items():
        (folder / name).write_bytes(content)
    return read_related(folder, "v-1")


def index_of(*numbers: int) -> PinIndex:
    index = PinIndex()
    for number in numbers:
        index.upsert(pin(number))
    return index


def query(index: PinIndex, subject: int) -> RetrievalQuery:
    snapshot = index.snapshot()
    return RetrievalQuery(snapshot, snapshot.allowed(PinFilter()), NOW_MS, subject_pin_id=pin_id(subject))


def test_scores_are_the_weighted_sum_of_both_cosines(graph: FittedGraph, tmp_path: Path) -> None:
    index = index_of(*range(NUM_PINS))
    found = read(graph, tmp_path).generate(query(index, 3), NUM_PINS)
    content = np.stack([np.asarray(pin(n).content_vector) for n in range(NUM_PINS)])
    expected = (1 - GRAPH_WEIGHT) * content @ content[3] + GRAPH_WEIGHT * graph.graph_PG @ graph.graph_PG[3]
    rows = found.row_K.tolist()
    assert len(rows) == NUM_PINS - 1 and 3 not in rows
    np.testing.assert_allclose(found.score_K, expected[rows], atol=1e-5)
    assert found.index_version == "v-1"


def test_a_new_pin_is_placed_by_its_content_also_after_a_compaction(graph: FittedGraph, tmp_path: Path) -> None:
    index, generator = index_of(*range(NUM_PINS), NEW), read(graph, tmp_path)
    for _ in range(2):
        found = generator.generate(query(index, NEW), 10)
        near = [int(index.snapshot().pin_ids[row][-3:]) for row in found.row_K.tolist()]
        assert len(near) == 10 and sum(number % 2 == NEW % 2 for number in near) >= 9
        index.remove(pin_id(2))
        compaction = index.begin_compaction()
        compaction.run()
        assert index.finish_compaction(compaction)


def test_a_pin_without_content_is_placed_by_the_graph(graph: FittedGraph, tmp_path: Path) -> None:
    index = index_of(*range(1, NUM_PINS))
    index.upsert(replace(pin(0), content_vector=None))
    found = read(graph, tmp_path).generate(query(index, 0), 10)
    assert all(int(index.snapshot().pin_ids[row][-3:]) % 2 == 0 for row in found.row_K.tolist())


def test_subjects_of_which_nothing_is_known_are_refused(graph: FittedGraph, tmp_path: Path) -> None:
    index, generator = index_of(*range(NUM_PINS)), read(graph, tmp_path)
    index.upsert(replace(pin(NEW), content_vector=None))
    for subject in (NEW, 999):
        with pytest.raises(NotFound):
            generator.generate(query(index, subject), 5)


def test_another_width_of_content_leaves_content_alone(graph: FittedGraph, tmp_path: Path) -> None:
    index = PinIndex()
    for number in range(6):
        index.upsert(replace(pin(number), content_vector=np.eye(6, 3, dtype=np.float32)[number % 3]))
    found = read(graph, tmp_path).generate(query(index, 0), 1)
    assert index.snapshot().pin_ids[int(found.row_K[0])] == pin_id(3)


def test_a_bundle_that_does_not_fit_is_corrupt(tmp_path: Path) -> None:
    files = related_files(["a", "b"], np.ones((2, 3), np.float32), np.ones((4, 2), np.float32), 0.5, {})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Corrupt, match=ARRAYS):
        read_related(tmp_path, "v")


async def test_a_release_swaps_the_graph_in(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as running:
        before = await running.retrieve(surface="related", subject_pin_id=pin_id(4), generators=["related"])
        versions = await running.release(fitted)

        async def has_graph() -> bool:
            answer = await running.retrieve(surface="related", subject_pin_id=pin_id(4), generators=["related"])
            return dict(answer.versions.by_artifact) == {"model:related": versions["related"]}

        await eventually(has_graph)
        assert before.candidates and not before.versions.by_artifact
