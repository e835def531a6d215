"""A paging session as compressed bytes: texts as JSON, numbers as arrays behind them, vectors as half floats."""

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

FORMAT = 1
LEVEL = 1  # zstd: the fastest; half floats hardly compress, texts do at any level
MAX_PLACE = 2**31
_HEAD = struct.Struct("<I")  # bytes of JSON

Numbers = NDArray[np.float64]


def encode(session: Session) -> bytes:
    """Vectors lose precision (half floats: 3 digits), nothing else does."""
    features = session.features
    text = json.dumps(_texts(session), separators=(",", ":")).encode()
    numbers = _numbers(session.pool).tobytes() + features.quality_R.astype("<f8").tobytes()
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


def _numbers(pool: Candidates) -> Numbers:
    """`[N, 4 + heads]`; a head that a pin lacks is NaN."""
    columns = (pool.retrieval_score_N, pool.retrieval_rank_N, pool.score_N, pool.rank_by_score_N)
    return np.column_stack([*columns, pool.score_by_head_NH]).astype("<f8", copy=False)


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
    numbers = arrays.take("<f8", num, 4 + len(heads))
    num_rows = len(columns["pin_ids"])
    quality, is_labelled = arrays.take("<f8", num_rows), arrays.take("?", num_rows)
    vectors = arrays.take("<f2", num_rows, columns["num_dimensions"]).astype(np.float32)
    return Session(
        pool=Candidates(
            pool["pin_ids"],
            pool["generators"],
            pool["content_groups"],
            numbers[:, 0],
            _whole(numbers[:, 1]),
            (),  # counted on the page that retrieved them
            np.zeros((num, 0)),
            numbers[:, 2],
            _whole(numbers[:, 3]),
            heads,
            numbers[:, 4:],
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


def _whole(numbers_N: Numbers) -> NDArray[np.int64]:
    """Raises: ValueError for one that is no place in a list."""
    if not (np.abs(numbers_N) < MAX_PLACE).all():  # neither is NaN
        raise ValueError("a rank is no number of a place")
    return numbers_N.astype(np.int64)
