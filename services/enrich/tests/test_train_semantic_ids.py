"""Codebooks from a file of pins to codes of pins, through a compiled definition."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sequences.definitions.compile import compile_definitions
from sequences.engine.engine import Engine
from sequences.engine.plan import plan_for
from sequences.engine.residual_quantiser import from_text
from sequences.testing import pins_batch
from services.enrich.offline.train_semantic_ids import main, unexplained, vectors_of

DEFINITION = """
from pathlib import Path
from sequences.definitions.enrichment import Column, Enrichment

codes = Enrichment(
    name="codes", owner="t", subject="pin", executor="semantic_id", reads=("given_vector",),
    parameters={"codebooks": Path(__file__).with_name("codebooks.txt").read_text()},
    writes=(Column(name="semantic_id", type="list<int32>"),),
)
"""


def write_pins(path: Path, vectors: list[list[float] | None]) -> None:
    pq.write_table(pa.table({"content_vector": pa.array(vectors, pa.list_(pa.float32()))}), path)


async def test_trained_codebooks_give_codes_to_pins(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    write_pins(tmp_path / "pins.parquet", [*vectors.tolist(), None])
    folder = tmp_path / "definitions" / "enrichments"
    folder.mkdir(parents=True)
    (folder / "codes.py").write_text(DEFINITION)
    arguments = ["--pins", str(tmp_path / "pins.parquet"), "--output", str(folder / "codebooks.txt")]
    assert main([*arguments, "--levels", "2", "--codes", "16"]) == 0
    quantiser = from_text((folder / "codebooks.txt").read_text())
    left = unexplained(quantiser, vectors)
    assert 1 > left[0] > left[1] > 0
    engine = Engine(plan_for(compile_definitions(tmp_path / "definitions"), "pin"))
    result = await engine.run(pins_batch([{"pin_id": "a", "given_vector": vectors[7].tolist()}, {"pin_id": "b"}]))
    assert result.batch.column("semantic_id").to_pylist() == [quantiser.codes(vectors[7:8])[0].tolist(), None]


def test_what_cannot_be_learned_from_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pins.parquet"
    write_pins(path, [[1.0, 2.0], [1.0]])
    assert main(["--pins", str(path), "--output", str(tmp_path / "out")]) == 1
    write_pins(path, [[1.0, 2.0]])
    assert vectors_of(path, "content_vector").tolist() == [[1.0, 2.0]]
    assert main(["--pins", str(path), "--output", str(tmp_path / "out")]) == 1  # 256 codes, one vector
    assert main(["--pins", str(path), "--column", "gone", "--output", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
