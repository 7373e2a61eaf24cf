"""Test images made of integers alone, so that every platform gets the same bytes and no licence applies."""

import numpy as np

HEIGHT, WIDTH = 384, 512


def synthetic_image(name: str) -> np.ndarray:
    """Returns an image of shape (384, 512, 3), uint8.

    Args:
        name: ``"ref"``, a texture of triangle waves with a little noise, or one of its distorted versions: ``"quant"``
            (11 grey levels), ``"noise"`` (uniform, -20 to 20), ``"blur"`` (5 x 5 box).
    """
    y, x, channel = np.indices((HEIGHT, WIDTH, 3))
    waves = _triangle(x + 2 * y + 11 * channel, 64) + _triangle(3 * x + 1000 - y + 5 * channel, 37) \
        + _triangle(x * y // 64 + 17 * channel, 29)
    reference = np.clip(30 + waves + _hash(x, y, channel, 0) % 13 + 10 * channel, 0, 255)
    makers = {"ref": lambda v: v, "quant": lambda v: v // 24 * 24 + 12, "blur": _box_mean,
              "noise": lambda v: np.clip(v + _hash(x, y, channel, 7) % 41 - 20, 0, 255)}
    return makers[name](reference).astype(np.uint8)


def _triangle(t: np.ndarray, period: int) -> np.ndarray:
    return np.abs(t % (2 * period) - period)


def _hash(x: np.ndarray, y: np.ndarray, channel: np.ndarray, salt: int) -> np.ndarray:
    """Returns a 32-bit number that looks random, the same at the same place."""
    low = 0xFFFFFFFF
    a = (x * 73856093 ^ y * 19349663 ^ 83492791 * (channel + 1) + 2654435 * salt) & low
    a ^= a >> 15
    a = (a.astype(np.uint64) * np.uint64(2246822519) & np.uint64(low)).astype(np.int64)
    return a ^ a >> 13


def _box_mean(v: np.ndarray) -> np.ndarray:
    padded = np.pad(v, ((2, 2), (2, 2), (0, 0)), mode="edge")
    return sum(padded[i:i + HEIGHT, j:j + WIDTH] for i in range(5) for j in range(5)) // 25
