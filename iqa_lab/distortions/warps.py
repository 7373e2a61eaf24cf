"""Shifts and warps: everything stays in the picture but moves. Outside the image its mirror image continues it.

Our own kinds and levels; KADID-10k has none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from iqa_lab.distortions.rounding import to_bytes

SMOOTHNESS = 20  # pixels: standard deviation of the filter that makes a random field of displacements smooth


def translation(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image moved down and to the right by whole pixels."""
    rows, columns = (mirror(np.arange(side) - int(pixels), side) for side in image.shape[:2])
    return image[np.ix_(rows, columns)]


def subpixel_shift(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image moved down and to the right by a fraction of a pixel."""
    rows, columns = pixel_grid(image)
    return to_bytes(sample(image, rows - pixels, columns - pixels))


def rotation(image: np.ndarray, degrees: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image turned counterclockwise around its centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return resample_around_centre(image, lambda y, x: (cosine * y + sine * x, cosine * x - sine * y))


def zoom(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the middle of the image enlarged ``factor`` times."""
    return resample_around_centre(image, lambda y, x: (y / factor, x / factor))


def perspective(image: np.ndarray, tilt: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as a sheet that leans back: 1 - ``tilt`` times its size on top, 1 + ``tilt`` at the bottom."""
    half = image.shape[0] / 2
    return resample_around_centre(image, lambda y, x: (y / (1 + tilt * y / half), x / (1 + tilt * y / half)))


def elastic_warp(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image on a rubber sheet pulled at random, by ``pixels`` (root mean square) along rows and columns."""
    field = random.normal(0, 1, (2, *image.shape[:2]))
    field = ndimage.gaussian_filter(field, (0, SMOOTHNESS, SMOOTHNESS), mode="reflect")
    field *= pixels / np.sqrt(np.mean(field**2, axis=(1, 2), keepdims=True))
    rows, columns = pixel_grid(image)
    return to_bytes(sample(image, rows + field[0], columns + field[1]))


def pixel_grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row numbers, shape (H, 1), and the column numbers, shape (1, W)."""
    return np.ogrid[:image.shape[0], :image.shape[1]]


def resample_around_centre(image: np.ndarray, source: Callable[..., tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns the image whose pixel at (y, x) from the centre comes from ``source(y, x)`` of the given one."""
    rows, columns = pixel_grid(image)
    middle_row, middle_column = ((side - 1) / 2 for side in image.shape[:2])
    y, x = source(rows - middle_row, columns - middle_column)
    return to_bytes(sample(image, y + middle_row, x + middle_column))


def mirror(index: np.ndarray, side: int) -> np.ndarray:
    """Returns pixel numbers inside the image for any: ... 1 0 | 0 1 2 ... side - 1 | side - 1 side - 2 ..."""
    index = index % (2 * side)
    return np.where(index < side, index, 2 * side - 1 - index)


def repeat_edge(index: np.ndarray, side: int) -> np.ndarray:
    """Returns pixel numbers inside the image for any: those outside become the nearest one inside."""
    return np.clip(index, 0, side - 1)


def sample(image: np.ndarray, rows: np.ndarray, columns: np.ndarray,
           border: Callable[[np.ndarray, int], np.ndarray] = mirror) -> np.ndarray:
    """Returns the image at places between its pixels, by cubic convolution (Keys 1981, a = -0.5).

    Args:
        image: shape (H, W, C).
        rows, columns: real numbers whose shapes broadcast to that of the result.
        border: brings row and column numbers outside the image back into it; mirrors if None.
    """
    top, left = np.floor(rows), np.floor(columns)
    row_weights, column_weights = cubic_weights(rows - top), cubic_weights(columns - left)
    result = 0
    for i, row_weight in enumerate(row_weights):
        row = border(top.astype(int) + i - 1, image.shape[0])
        line = 0
        for j, column_weight in enumerate(column_weights):
            line = line + column_weight[..., None] * image[row, border(left.astype(int) + j - 1, image.shape[1])]
        result = result + row_weight[..., None] * line
    return result


def cubic_weights(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the weights of the pixels at -1, 0, 1 and 2 for places ``t`` between 0 and 1; they sum to 1."""
    return (((-0.5 * t + 1) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1, ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t)
