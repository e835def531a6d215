"""Vectors of pins: unit length, stable, alike for like content."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sequences.definitions.definitions import assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.testing import repository_definitions
from sequences.engine.engine import Engine
from sequences.engine.image_features import image_features
from sequences.engine.plan import plan_for
from sequences.engine.result import EngineResult
from sequences.testing import events_batch, pins_batch


async def enrich(*pins: dict[str, Any]) -> EngineResult:
    engine = Engine(plan_for(repository_definitions(), "pin"))
    try:
        return await engine.run(pins_batch(pins))
    finally:
        engine.close()


async def vectors(*pins: dict[str, Any]) -> np.ndarray[Any, Any]:
    result = await enrich(*pins)
    assert not result.failures
    return np.array(result.batch.column("content_vector").to_pylist())


def picture(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return out.getvalue()


async def test_vectors_have_unit_length_even_for_an_empty_pin() -> None:
    found = await vectors({"pin_id": "a"}, {"pin_id": "b", "title": "Red chair", "topics": ["chairs"]})
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-6)


async def test_like_content_is_nearer_than_other_content() -> None:
    chair, stool, pasta = await vectors(
        {"title": "Red wooden chair", "topics": ["furniture"]},
        {"title": "RED wooden stool", "topics": ["furniture"]},
        {"title": "Pasta with basil", "topics": ["food"]},
    )
    assert chair @ stool > chair @ pasta + 0.3


async def test_a_given_vector_wins_and_is_scaled() -> None:
    given = [3.0] + [0.0] * 62 + [4.0]
    result = await enrich({"given_vector": given, "title": "words"})
    row = result.batch.to_pylist()[0]
    assert row["content_vector_version"] == "given"
    assert (row["content_vector"][0], row["content_vector"][63]) == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize("given", [[1.0] * 8, [0.0] * 64, [float("nan")] * 64, []])
async def test_an_unusable_given_vector_fails_its_row_only(given: list[float]) -> None:
    result = await enrich({"given_vector": given}, {"title": "fine"})
    assert [each.row for each in result.failures] == [0]
    assert result.rows.tolist() == [1]


async def test_a_picture_counts_and_a_broken_one_fails() -> None:
    red, also_red, blue = await vectors(
        {"image": picture((255, 0, 0))}, {"image": picture((250, 5, 5))}, {"image": picture((0, 0, 255))}
    )
    assert red @ also_red == pytest.approx(1.0, abs=1e-6)
    assert red @ blue < 0.9
    assert "picture cannot be read" in (await enrich({"image": b"GIF89a"})).failures[0].reason


def test_edges_have_directions() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::16] = 255
    out = io.BytesIO()
    Image.fromarray(stripes).save(out, "PNG")
    edges = {name: value for name, value in image_features(out.getvalue()).items() if name.startswith("edge")}
    assert edges.keys() <= {"edge0", "edge3", "edge4"}
    assert sum(edges.values()) == pytest.approx(1.0)


async def test_hashed_ids_are_stable_and_in_range() -> None:
    step = Enrichment(
        name="h",
        owner="t",
        executor="hash_ids",
        reads=("pin_id",),
        parameters={"num_buckets": 1000},
        writes=(Column(name="bucket", type="int64"),),
    )
    result = await Engine(plan_for(assemble([step]))).run(events_batch([{"pin_id": p} for p in ("a", "b", "a")]))
    first, second, third = result.batch.column("bucket").to_pylist()
    assert first == third != second
    assert all(0 <= each < 1000 for each in (first, second))
