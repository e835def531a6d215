"""Draws a small picture for a pin: a gradient in its topic's colour with a few shapes, as PNG bytes."""

import colorsys
import struct
import zlib

import numpy as np
import numpy.typing as npt

SIDE_PX = 32


def draw(topic: int, num_topics: int, seed: int) -> bytes:
    """The same picture for the same topic and seed; about 1 kB."""
    random = np.random.default_rng(seed)
    base = np.array(colorsys.hsv_to_rgb(topic / num_topics, 0.55, 0.9)) * 255
    across = np.linspace(0.6, 1.1, SIDE_PX)
    pixels = np.clip(base[None, None, :] * (across[:, None, None] * 0.7 + across[None, :, None] * 0.3), 0, 255)
    for _ in range(int(random.integers(1, 4))):
        x, y = (int(corner) for corner in random.integers(0, SIDE_PX - 8, 2))
        size = int(random.integers(4, 12))
        pixels[y : y + size, x : x + size] = random.integers(0, 255, 3)
    return _png(pixels.astype(np.uint8))


def _png(pixels_HWC: npt.NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels_HWC.shape
    raw = b"".join(b"\0" + row.tobytes() for row in pixels_HWC)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 6)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
