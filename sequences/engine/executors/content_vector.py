"""Executor: one unit vector per pin, from a given vector, or from text, topics and picture."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.hashing_encoder import HashingEncoder
from sequences.engine.image_features import image_features
from sequences.engine.sentence_encoder import sentence_encoder
from sequences.engine.signature import check_parameters, check_writes

READS = ("pin_id", "title_normalised", "description_normalised", "topics", "image", "given_vector")
WRITABLE = {"content_vector": "list<float32>", "content_vector_version": "string"}
MAX_DIMENSIONS = 4096
HASHING, MODEL2VEC = "hashing", "model2vec"
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Pin = dict[str, Any]
Encoded = tuple[NDArray[np.float32], str]
Encode = Callable[[Pin, list[str]], Encoded]


class ContentVector:
    """A given vector of `dimensions` wins, scaled to unit length; else the encoder: hashing (text, topics and picture),
    or model2vec with a `model` of this width (text and topics).

    A pin with no content at all gets the vector of its id: never zero. A given vector of another width, with NaN
    or of length zero, or a picture that cannot be read, is a failure of that row.
    """

    name = "content_vector"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        allowed = {"dimensions": int, "encoder": str, "model": str}
        problems = check_parameters(enrichment, allowed, required=("dimensions",))
        encoder, model = enrichment.parameters.get("encoder", HASHING), enrichment.parameters.get("model", "")
        if encoder not in (HASHING, MODEL2VEC):
            problems.append(f"encoder must be {HASHING} or {MODEL2VEC}")
        if (encoder == MODEL2VEC) != bool(MODEL_NAME.fullmatch(str(model))):
            problems.append(f"model is the folder name of a model, for encoder {MODEL2VEC} only")
        dimensions = enrichment.parameters.get("dimensions")
        if isinstance(dimensions, int) and not 8 <= dimensions <= MAX_DIMENSIONS:
            problems.append(f"dimensions must be in 8..{MAX_DIMENSIONS}")
        if enrichment.reads != READS:
            problems.append(f"must read {', '.join(READS)}")
        return problems + check_writes(enrichment, WRITABLE)

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        encode, dimensions = _encoder(step.parameters), int(step.parameters["dimensions"])
        vectors: list[NDArray[np.float32] | None] = [None] * batch.num_rows
        versions: list[str | None] = [None] * batch.num_rows
        failures: dict[int, str] = {}
        for row, pin in enumerate(batch.select(list(READS)).to_pylist()):
            try:
                vectors[row], versions[row] = _vector(pin, encode, dimensions)
            except ValueError as error:
                failures[row] = str(error)
        columns = {
            "content_vector": pa.array(vectors, pa.list_(pa.float32())),
            "content_vector_version": pa.array(versions, pa.string()),
        }
        return ExecutorResult({field.name: columns[field.name] for field in step.writes}, failures=failures)


def _encoder(parameters: Mapping[str, Any]) -> Encode:
    """Raises: Unavailable when the model is not on this machine; ValueError when its width is another one."""
    dimensions = int(parameters["dimensions"])
    if parameters.get("encoder", HASHING) == HASHING:
        hashing = HashingEncoder(dimensions)

        def by_hashing(pin: Pin, texts: list[str]) -> Encoded:
            picture = image_features(pin["image"]) if pin["image"] else {}
            return hashing.encode(texts, pin["topics"] or [], picture, fallback=pin["pin_id"]), hashing.version

        return by_hashing
    sentences = sentence_encoder(parameters["model"])
    if sentences.dimensions != dimensions:
        raise ValueError(f"model {parameters['model']} has {sentences.dimensions} dimensions, not {dimensions}")
    return lambda pin, texts: (
        sentences.encode(texts, pin["topics"] or [], fallback=pin["pin_id"]),
        sentences.version,
    )


def _vector(pin: Pin, encode: Encode, dimensions: int) -> Encoded:
    """Raises: ValueError when the given vector or the picture is unusable."""
    if pin["given_vector"] is not None:
        return _given(np.asarray(pin["given_vector"], dtype=np.float64), dimensions), "given"
    return encode(pin, [text for text in (pin["title_normalised"], pin["description_normalised"]) if text])


def _given(vector: NDArray[np.float64], dimensions: int) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    if vector.shape != (dimensions,) or not np.isfinite(length) or length == 0.0:
        raise ValueError(
            f"given vector of width {vector.size} and length {length:g}; "
            f"needed: {dimensions} finite numbers that are not all zero"
        )
    return (vector / length).astype(np.float32)
