"""A real, tiny model in the library's own format as encoder of content vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.errors import Unavailable
from sequences.definitions.definitions import assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.engine.engine import Engine
from sequences.engine.executors.content_vector import READS, ContentVector
from sequences.engine.plan import plan_for
from sequences.engine.result import EngineResult
from sequences.engine.sentence_encoder import FOLDER, sentence_encoder
from sequences.testing import pins_batch

WORDS = ("[UNK]", "chair", "sofa", "garden")
DIMENSIONS = 8


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three words: chair and sofa are close, garden is not."""
    model2vec = pytest.importorskip("model2vec", reason="the extra `sentences` is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    vectors = np.zeros((len(WORDS), DIMENSIONS), dtype=np.float32)
    vectors[1:, :3] = np.array([[1.0, 0.1, 0.0], [1.0, 0.3, 0.0], [0.0, 0.0, 1.0]])
    words = tokenizers.models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model2vec.StaticModel(vectors, tokenizer, config={"normalize": False}).save_pretrained(tmp_path / "tiny")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    sentence_encoder.cache_clear()
    return tmp_path


def enrichment(**parameters: Any) -> Enrichment:
    writes = (Column(name="content_vector", type="list<float32>"), Column(name="content_vector_version", type="string"))
    given = {"dimensions": DIMENSIONS, "encoder": "model2vec", "model": "tiny", **parameters}
    return Enrichment(
        name="content",
        owner="t",
        subject="pin",
        executor="content_vector",
        reads=READS,
        parameters=given,
        writes=writes,
    )


async def enriched(*pins: dict[str, Any], **parameters: Any) -> EngineResult:
    named = [
        Enrichment(
            name=f"{column}_normalised",
            owner="t",
            subject="pin",
            executor="normalise_text",
            reads=(column,),
            writes=(Column(name=f"{column}_normalised", type="string"),),
        )
        for column in ("title", "description")
    ]
    engine = Engine(plan_for(assemble([*named, enrichment(**parameters)]), "pin"))
    try:
        return await engine.run(pins_batch(pins))
    finally:
        engine.close()


async def test_words_that_mean_the_like_are_near(models: Path) -> None:
    result = await enriched({"title": "chair"}, {"title": "sofa"}, {"title": "garden"}, {"title": "unheard of"})
    chair, sofa, garden, unknown = np.array(result.batch.column("content_vector").to_pylist())
    assert chair @ sofa > 0.9
    assert abs(chair @ garden) < 0.1
    assert np.linalg.norm(unknown) == pytest.approx(1.0)
    versions = set(result.batch.column("content_vector_version").to_pylist())
    assert len(versions) == 1
    assert versions.pop().startswith("model2vec-tiny-")


async def test_other_weights_are_another_version(models: Path) -> None:
    before = sentence_encoder("tiny").version
    weights = models / "tiny" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    sentence_encoder.cache_clear()
    assert sentence_encoder("tiny").version != before


async def test_a_model_of_another_width_fails_with_both_widths(models: Path) -> None:
    [failure] = (await enriched({"title": "chair"}, dimensions=16)).failures
    assert "8 dimensions, not 16" in failure.reason


async def test_a_model_that_is_not_here_is_no_fault_of_the_pin(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="no model 'large'"):
        await enriched({"title": "chair"}, model="large")
    monkeypatch.delenv(FOLDER)
    sentence_encoder.cache_clear()
    with pytest.raises(Unavailable, match=FOLDER):
        await enriched({"title": "chair"})


@pytest.mark.parametrize(
    "parameters", [{"encoder": "oracle"}, {"model": "../secret"}, {"model": ""}, {"encoder": "hashing"}]
)
def test_unsound_parameters_are_named(parameters: dict[str, str]) -> None:
    assert ContentVector().check(enrichment(**parameters))
