"""Which signals make pins alike, and the page that comes of it."""

import numpy as np
import pytest

from sequences.definitions.spacing_class import SpacingClass
from sequences.definitions.surface import DiversitySignal
from sequences.definitions.testing import repository_definitions
from services.blender.domain.candidates import no_candidates
from services.blender.domain.page_slate import page_slate
from services.blender.domain.pin_features import PinFeatures, PinRow, from_rows
from services.blender.domain.session import Session
from services.blender.domain.similarity import similarity
from services.blender.outbound.redis_session_bytes import decode, encode

HOME = repository_definitions().surfaces["home"]
SCORES = {"a": 1.0, "b": 0.99, "c": 0.98, "d": 0.2}


def pin(name: str, topic: str = "", creator: str = "", codes: tuple[int, ...] = ()) -> PinRow:
    vector = np.eye(4, dtype=np.float32)["abcd".index(name)]
    return PinRow(name, vector, topic, creator, "", "", False, 1.0, codes)


def features(**codes: tuple[int, ...]) -> PinFeatures:
    topics = {"a": "art", "b": "art", "c": "art", "d": "food"}
    return from_rows([pin(name, topics[name], "me", codes.get(name, ())) for name in "abcd"])


def products(signals: dict[DiversitySignal, float], known: PinFeatures) -> np.ndarray:
    rows = similarity(signals, known, list("abcd"))
    found: np.ndarray = rows.rows_ME @ rows.rows_ME.T + np.diag(rows.own_M)
    return found


def test_signals_are_weighed() -> None:
    assert products({"content": 1.0}, features())[0, 1] == pytest.approx(0.5)
    assert products({"topic": 1.0}, features())[0, 1] == pytest.approx(1.0)
    assert products({"topic": 1.0}, features())[0, 3] == 0.0
    assert products({"content": 1.0, "topic": 3.0}, features())[0, 1] == pytest.approx(0.25 * 0.5 + 0.75)
    assert products({"creator": 0.0}, features())[0, 1] == pytest.approx(0.5)  # content stands in for none


def test_codes_count_by_their_shared_prefix() -> None:
    known = features(a=(1, 2), b=(1, 3), c=(1, 2))
    found = products({"semantic_id": 1.0}, known)
    assert (found[0, 1], found[0, 2]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert found[0, 3] == found[3, 3] == 0.0  # nothing is known of d


def test_topics_alone_can_turn_a_page() -> None:
    surface = HOME.model_copy(update={"diversity_weight": 3.0, "diversity_signals": {"topic": 1.0}})
    slate = page_slate(SCORES, features(), surface, [], 4)
    assert [list(SCORES)[index] for index in slate.order_T.tolist()][1] == "d"
    by_content = surface.model_copy(update={"diversity_signals": {"content": 1.0}})
    assert page_slate(SCORES, features(), by_content, [], 4).order_T.tolist() == [0, 1, 2, 3]


def test_pins_with_near_codes_are_kept_apart() -> None:
    plain = HOME.model_copy(update={"diversity_strategy": "none"})
    apart = SpacingClass(name="alike", owner="t", signal="semantic_id", threshold=0.25, penalty=9.0, window=1)
    known = features(a=(1, 2), b=(1, 2), c=(4, 4), d=(5, 5))
    slate = page_slate(SCORES, known, plain, [apart], 4)
    assert [list(SCORES)[index] for index in slate.order_T.tolist()][:3] == ["a", "c", "b"]
    assert slate.penalty_T.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0])


def test_codes_outlive_a_session() -> None:
    known = features(a=(1, 2))
    session = Session(pool=no_candidates(), features=known, versions={}, sequence_version=1, influencing_events=[])
    assert [list(each) for each in decode(encode(session)).features.semantic_ids] == [[1, 2], [], [], []]
