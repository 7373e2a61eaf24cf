"""From real numbers to bytes, and the stretch to [0, 1] that KADID-10k makes before and after every distortion."""

from __future__ import annotations

import numpy as np

FLAT = 1e-6  # a smaller range is noise of the arithmetic: bytes that differ are 1/255 apart


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Returns the values rounded and clipped to uint8.

    Halves go up with a margin of 1e-6, so that the last bit of a sum, which depends on the order in which a processor
    adds, cannot decide between two bytes.
    """
    return np.clip(np.floor(values + 0.5 + 1e-6), 0, 255).astype(np.uint8)


def stretch(values: np.ndarray) -> np.ndarray:
    """Returns the values mapped linearly so that the smallest is 0 and the largest 1; a flat image stays as it is."""
    low, high = values.min(), values.max()
    return values if high - low < FLAT else (values - low) / (high - low)
