"""Colours and edge directions of a picture, as a few named numbers."""

import io

import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels; both sides after scaling
MAX_PIXELS = 40_000_000
NUM_LEVELS = 4  # per colour channel
NUM_DIRECTIONS = 8


def image_features(content: bytes) -> dict[str, float]:
    """Share of each colour and of each edge direction, only those above zero.

    Raises: ValueError when the bytes are no picture, or one of more than MAX_PIXELS pixels.
    """
    pixels = _pixels(content)
    return _colours(pixels) | _edges(pixels.mean(axis=2))


def _pixels(content: bytes) -> NDArray[np.float64]:
    from PIL import Image  # only pins with pictures need it

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"picture of {image.width} x {image.height} pixels is too large")
            scaled = image.convert("RGB").resize((SIDE, SIDE))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"picture cannot be read: {error}") from error
    return np.asarray(scaled, dtype=np.float64)


def _colours(pixels: NDArray[np.float64]) -> dict[str, float]:
    levels = (pixels * NUM_LEVELS / 256).astype(np.int64)
    codes = (levels[..., 0] * NUM_LEVELS + levels[..., 1]) * NUM_LEVELS + levels[..., 2]
    shares = np.bincount(codes.ravel(), minlength=NUM_LEVELS**3) / codes.size
    return {f"colour{code}": float(share) for code, share in enumerate(shares) if share > 0}


def _edges(grey: NDArray[np.float64]) -> dict[str, float]:
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    total = float(strength.sum())
    if total == 0.0:
        return {}
    direction = ((np.arctan2(down, right) / (2 * np.pi) % 1.0) * NUM_DIRECTIONS).astype(np.int64) % NUM_DIRECTIONS
    shares = np.bincount(direction.ravel(), weights=strength.ravel(), minlength=NUM_DIRECTIONS) / total
    return {f"edge{code}": float(share) for code, share in enumerate(shares) if share > 0}
