"""A paging session as compressed bytes: texts as JSON, numbers as arrays behind them, vectors as half floats."""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import cramjam
import numpy as np
from numpy.typing import NDArray

from chassis.errors import Corrupt
from services.blender.domain.candidate import Candidate, InfluencingEvent
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.session import Session

FORMAT = 1
LEVEL = 1  # zstd: the fastest; half floats hardly compress, texts do at any level
_HEAD = struct.Struct("<I")  # bytes of JSON

Numbers = NDArray[np.float64]


def encode(session: Session) -> bytes:
    """Vectors lose precision (half floats: 3 digits), nothing else does."""
    heads = sorted({head for each in session.pool for head in each.score_by_head})
    features = session.features
    text = json.dumps(_texts(session, heads), separators=(",", ":")).encode()
    numbers = _numbers(session.pool, heads).tobytes() + features.quality_R.astype("<f8").tobytes()
    flags = features.is_labelled_R.astype("?").tobytes()
    raw = _HEAD.pack(len(text)) + text + numbers + flags + features.vectors_RD.astype("<f2").tobytes()
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


def _texts(session: Session, heads: Sequence[str]) -> dict[str, Any]:
    pool, features = session.pool, session.features
    return {
        "format": FORMAT,
        "versions": session.versions,
        "sequence_version": session.sequence_version,
        "events": [asdict(each) for each in session.influencing_events],
        "heads": heads,
        "pool": {
            "pin_ids": [each.pin_id for each in pool],
            "generators": [each.generator for each in pool],
            "content_groups": [each.content_group for each in pool],
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


def _numbers(pool: Sequence[Candidate], heads: Sequence[str]) -> Numbers:
    """`[N, 4 + heads]`; a head that a pin lacks is NaN."""
    rows = [
        (
            each.retrieval_score,
            each.retrieval_rank,
            each.score,
            each.rank_by_score,
            *(each.score_by_head.get(head, math.nan) for head in heads),
        )
        for each in pool
    ]
    return np.array(rows, dtype="<f8").reshape(len(pool), 4 + len(heads))


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
    numbers = arrays.take("<f8", len(pool["pin_ids"]), 4 + len(heads)).tolist()
    num_rows = len(columns["pin_ids"])
    quality, is_labelled = arrays.take("<f8", num_rows), arrays.take("?", num_rows)
    vectors = arrays.take("<f2", num_rows, columns["num_dimensions"]).astype(np.float32)
    texts = zip(pool["pin_ids"], pool["generators"], pool["content_groups"], numbers, strict=True)
    return Session(
        pool=[
            Candidate(pin_id, generator, row[0], int(row[1]), {}, group, row[2], _heads(heads, row[4:]), int(row[3]))
            for pin_id, generator, group, row in texts
        ],
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


def _heads(heads: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {head: value for head, value in zip(heads, values, strict=True) if not math.isnan(value)}
