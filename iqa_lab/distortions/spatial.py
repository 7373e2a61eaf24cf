"""Distortions of place: pixels, patches or cells of the image end up elsewhere, or are covered.

Of KADID-10k, all follow the authors' code with other random numbers. Two details differ: ``kadid_jitter`` samples
beyond the border where MATLAB's interp2 may give no number, and ``kadid_colour_block`` puts its blocks on whole pixels.
"""

from __future__ import annotations

import math

import numpy as np

from iqa_lab.distortions.rounding import to_bytes
from iqa_lab.distortions.warps import mirror, pixel_grid, repeat_edge, sample

JITTERS = 5  # rounds of jitter
PATCH, PATCH_REACH = 16, 16  # sides of a copied patch and of the window of its displacement
COLOUR_BLOCK = 32
CELL, RAMP = 64, 16  # sides of a cell of texture, and width of the blend between neighbours; a power of 2 is exact
DIRECTIONS = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])


def kadid_jitter(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after five rounds in which each pixel is fetched from a random place nearby.

    The displacements along rows and columns are Gaussian with the standard deviation ``sigma``, in pixels.
    """
    rows, columns = pixel_grid(image)
    for _ in range(JITTERS):
        down, right = random.normal(0, sigma, (2, *image.shape[:2]))
        image = sample(image, rows - down, columns - right, repeat_edge)
    return image


def kadid_non_eccentricity_patch(image: np.ndarray, n_patches: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``n_patches`` random patches of 16 x 16 pixels copied to up to 8 pixels away."""
    image, size = image.copy(), np.array(image.shape[:2])
    for _ in range(int(n_patches)):
        start = PATCH_REACH - 1 + np.floor(random.random_sample(2) * (size - PATCH - 2 * PATCH_REACH) + 0.5).astype(int)
        end = np.floor(start + PATCH_REACH * (random.random_sample(2) - 0.5) + 0.5).astype(int)
        patch = image[start[0]:start[0] + PATCH, start[1]:start[1] + PATCH].copy()
        image[end[0]:end[0] + PATCH, end[1]:end[1] + PATCH] = patch
    return image


def kadid_pixelate(image: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image reduced to 0.95 - ``strength`` ** 0.6 of its sides and enlarged again: nearest neighbours."""
    scale = 0.95 - strength**0.6
    for axis, side in enumerate(image.shape[:2]):
        small = math.ceil(scale * side)
        source = np.floor((np.arange(small) + 0.5) / scale + 1e-9).astype(int)  # the margin of to_bytes, for places
        nearest = (2 * np.arange(side) + 1) * small // (2 * side)
        image = image.take(np.minimum(source, side - 1)[nearest], axis)
    return image


def kadid_colour_block(image: np.ndarray, n_blocks: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image under ``n_blocks`` squares of 32 x 32 pixels, of random colours at random places."""
    image = image.copy()
    for _ in range(int(n_blocks)):
        colour = random.random_sample(3)
        top, left = (random.random_sample(2) * (np.array(image.shape[:2]) - COLOUR_BLOCK + 1)).astype(int)
        image[top:top + COLOUR_BLOCK, left:left + COLOUR_BLOCK] = colour
    return image


def texture_resampling(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with each cell of 64 x 64 pixels replaced by what lies ``pixels`` away in a random direction.

    Neighbouring cells blend into each other, and the mirror image continues the image outside. A texture looks as
    before, though none of its pixels stays; edges and objects break. Our own kind: KADID-10k has none like it.
    """
    height, width = image.shape[:2]
    rows, columns = np.arange(height), np.arange(width)
    result = np.zeros(image.shape)
    for row_weight in cell_weights(height):
        for column_weight in cell_weights(width):
            down, right = int(pixels) * DIRECTIONS[random.randint(len(DIRECTIONS))]
            y, x = rows[row_weight > 0], columns[column_weight > 0]
            weight = row_weight[y][:, None, None] * column_weight[x][:, None]
            result[np.ix_(y, x)] += weight * image[np.ix_(mirror(y + down, height), mirror(x + right, width))]
    return to_bytes(result)


def cell_weights(side: int) -> np.ndarray:
    """Returns the weight of each cell at each pixel, shape (cells, side); the weights at a pixel sum to 1."""
    starts = CELL * np.arange(1, max(1, side // CELL))
    rise = np.clip((np.arange(side) + 0.5 - starts[:, None]) / RAMP + 0.5, 0, 1)
    steps = np.concatenate((np.ones((1, side)), rise, np.zeros((1, side))))
    return steps[:-1] - steps[1:]
