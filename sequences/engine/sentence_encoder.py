"""Text into a vector by a small static sentence-embedding model (model2vec), as an alternative to hashing.

Needs the extra `sentences`. A model is a folder as `StaticModel.save_pretrained` writes it, below the folder that
CORKBOARD_SENTENCE_MODELS names; definitions name the model only, as paths differ between machines.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Unavailable

FOLDER = "CORKBOARD_SENTENCE_MODELS"
WEIGHTS = "model.safetensors"


class SentenceEncoder:
    """Titles, descriptions and topics -> unit vector [dimensions], float32; the version names the weights."""

    def __init__(self, name: str, model: Any, weights_digest: str) -> None:
        self._model = model
        self.dimensions = int(model.dim)
        self.version = f"model2vec-{name}-{weights_digest}"

    def encode(self, texts: Sequence[str], topics: Sequence[str], *, fallback: str) -> NDArray[np.float32]:
        """Without any known word, the vector of the text `fallback`, and at last a fixed one: never zero."""
        for text in (". ".join([*texts, *topics]), fallback):
            vector = np.asarray(self._model.encode([text])[0], dtype=np.float64)
            length = float(np.linalg.norm(vector))
            if np.isfinite(length) and length > 0.0:
                return (vector / length).astype(np.float32)
        vector = np.zeros(self.dimensions)
        vector[0] = 1.0
        return vector.astype(np.float32)


@lru_cache(maxsize=4)
def sentence_encoder(name: str) -> SentenceEncoder:
    """The model of this name, read once per process.

    Raises: Unavailable when the package, the setting or the folder is missing; the row is not at fault.
    """
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise Unavailable("encoder model2vec needs its package: pip install 'corkboard[sentences]'") from error
    root = os.environ.get(FOLDER)
    if not root:
        raise Unavailable(f"encoder model2vec needs {FOLDER}, the folder with models")
    path = Path(root) / name
    if not (path / WEIGHTS).is_file():
        raise Unavailable(f"there is no model {name!r} in the folder that {FOLDER} names")
    digest = hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()[:8]
    return SentenceEncoder(name, StaticModel.from_pretrained(str(path)), digest)
