"""A paging session as compressed bytes: texts as JSON, numbers as arrays behind them, directions of vectors as bytes.

Shapes: N pins of the pool, R rows of features, D dimensions.
"""

import json
import math
import struct
from dataclasses import asdict
from typing import Any

import cramjam
import numpy as np
from numpy.typing import NDArray

from chassis.errors import Corrupt
from services.blender.domain.candidate import InfluencingEvent
from services.blender.domain.candidates import Candidates
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.session import Session

FORMAT = 2
LEVEL = 1  # zstd: the fastest; numbers hardly compress, texts do at any level
TINY = 1e-30
STEPS = 127  # of a vector's largest number: cosines move by a thousandth in the mean, a hundredth at most
_HEAD = struct.Struct("<I")  # bytes of JSON


def encode(session: Session) -> bytes:
    """What only explains is kept to seven digits, of a vector where it points: a slate asks for nothing else."""
    pool, features = session.pool, session.features
    text = json.dumps(_texts(session), separators=(",", ":")).encode()
    arrays = (
        pool.score_N.astype("<f8"),
        np.column_stack([pool.retrieval_score_N, pool.score_by_head_NH]).astype("<f4"),
        np.column_stack([pool.retrieval_rank_N, pool.rank_by_score_N]).astype("<i4"),
        features.quality_R.astype("<f4"),
        features.is_labelled_R.astype("?"),
        _directions(features.vectors_RD),
    )
    raw = _HEAD.pack(len(text)) + text + b"".join(array.tobytes() for array in arrays)
    return bytes(cramjam.zstd.compress(raw, LEVEL))


def decode(packed: bytes) -> Session:
    """Raises: Corrupt when the bytes are no session of this format."""
    try:
        raw = bytes(cramjam.zstd.decompress(packed))
        (num_text,) = _HEAD.unpack_from(raw)
        content = json.loads(raw[_HEAD.size : _HEAD.size + num_text])
        if content["format"] != FORMAT:
            raise Corrupt(f"session has format {content['format']!r}, this service reads {FORMAT}")
        return _session(content, _Arrays(raw, _HEAD.size + num_text))
    except (cramjam.DecompressionError, struct.error, ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"{len(packed)} bytes are no session: {error!r}") from error


def _texts(session: Session) -> dict[str, Any]:
    pool, features = session.pool, session.features
    return {
        "format": FORMAT,
        "versions": session.versions,
        "sequence_version": session.sequence_version,
        "events": [asdict(each) for each in session.influencing_events],
        "heads": list(pool.heads),
        "pool": {
            "pin_ids": pool.pin_ids,
            "generators": pool.generators,
            "content_groups": pool.content_groups,
        },
        "features": {
            "pin_ids": list(features.pin_ids),
            "topics": list(features.topics),
            "creators": list(features.creators),
            "advertisers": list(features.advertisers),
            "content_groups": list(features.content_groups),
            "semantic_ids": [list(each) for each in features.semantic_ids],
            "num_dimensions": features.vectors_RD.shape[1],
        },
    }


def _directions(vectors_RD: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each vector in steps of its largest number; one that is zero or not finite points nowhere."""
    finite_RD = np.where(np.isfinite(vectors_RD).all(axis=1, keepdims=True), vectors_RD, 0.0)
    largest_R1 = np.abs(finite_RD).max(axis=1, keepdims=True, initial=TINY)
    directions: NDArray[np.int8] = np.rint(STEPS * (finite_RD / largest_R1)).astype("i1")
    return directions


class _Arrays:
    """Reads arrays one behind the other."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw, self._at = raw, at

    def take(self, dtype: str, *shape: int) -> NDArray[Any]:
        array = np.frombuffer(self._raw, dtype=dtype, count=math.prod(shape), offset=self._at).reshape(shape)
        self._at += array.nbytes
        return array


def _session(content: dict[str, Any], arrays: _Arrays) -> Session:
    pool, columns, heads = content["pool"], content["features"], content["heads"]
    num = len(pool["pin_ids"])
    score = arrays.take("<f8", num)
    numbers = arrays.take("<f4", num, 1 + len(heads)).astype(np.float64)
    ranks = arrays.take("<i4", num, 2).astype(np.int64)
    num_rows = len(columns["pin_ids"])
    quality, is_labelled = arrays.take("<f4", num_rows).astype(np.float64), arrays.take("?", num_rows)
    vectors = arrays.take("i1", num_rows, columns["num_dimensions"]).astype(np.float32) / np.float32(STEPS)
    return Session(
        pool=Candidates(
            pool["pin_ids"],
            pool["generators"],
            pool["content_groups"],
            numbers[:, 0],
            ranks[:, 0],
            (),  # counted on the page that retrieved them
            np.zeros((num, 0)),
            score,
            ranks[:, 1],
            heads,
            numbers[:, 1:],
        ),
        features=PinFeatures(
            columns["pin_ids"],
            vectors,
            columns["topics"],
            columns["creators"],
            columns["advertisers"],
            columns["content_groups"],
            is_labelled,
            quality,
            columns.get("semantic_ids", ()),
        ),
        versions=content["versions"],
        sequence_version=content["sequence_version"],
        influencing_events=[InfluencingEvent(**each) for each in content["events"]],
    )
