"""Palettes of least variance (Wan, Prusinkiewicz, Wong 1990), which is what MATLAB's rgb2ind looks for."""

from __future__ import annotations

import numpy as np

CELLS = 32  # of 8 levels, in which colours are counted along each channel

Box = tuple[tuple[int, int], ...]  # first cell, and the one after the last, of red, green and blue


def minimum_variance_palette(image: np.ndarray, n_colours: int) -> np.ndarray:
    """Returns at most ``n_colours`` colours, uint8 of shape (n, 3), for an image of bytes.

    The cube of all colours is cut into boxes, one cut at a time, through the box with the largest sum of squared
    distances from its mean colour, where that leaves the smallest sums. The palette holds the means of the boxes.
    """
    moments = colour_moments(image)
    cube = ((0, CELLS),) * 3
    boxes = {cube: best_cut(moments, cube)}
    while len(boxes) < n_colours:
        widest = max(boxes, key=lambda box: boxes[box][0])
        halves = boxes.pop(widest)[1]
        if not halves:
            boxes[widest] = 0, ()
            break
        boxes.update({half: best_cut(moments, half) for half in halves})
    sums = np.stack([inside(moments, box).sum((1, 2, 3)) for box in boxes])
    return (sums[:, 1:4] / sums[:, :1] + 0.5).astype(np.uint8)


def colour_moments(image: np.ndarray) -> np.ndarray:
    """Returns, for each cell of the cube, the number of pixels, the sums of R, G and B, and of R^2 + G^2 + B^2.

    Shape (5, 32, 32, 32): whole numbers, so that no sum of them depends on the order of adding.
    """
    pixels = image.reshape(-1, 3).astype(np.int64)
    cell = pixels // (256 // CELLS) @ [CELLS**2, CELLS, 1]
    weights = (None, *pixels.T, (pixels**2).sum(axis=1))
    return np.stack([np.bincount(cell, weight, CELLS**3) for weight in weights]).reshape(5, CELLS, CELLS, CELLS)


def inside(moments: np.ndarray, box: Box) -> np.ndarray:
    """Returns the moments of the cells of a box."""
    return moments[(slice(None), *(slice(*ends) for ends in box))]


def spread(moments: np.ndarray) -> np.ndarray:
    """Returns the sum of squared distances from the mean colour; the five moments stand along the first axis."""
    return moments[4] - (moments[1:4] ** 2).sum(axis=0) / np.maximum(moments[0], 1)


def best_cut(moments: np.ndarray, box: Box) -> tuple[float, tuple[Box, ...]]:
    """Returns the spread of a box and the two boxes of its best cut; 0 and none if its colours share one cell."""
    cells, cuts = inside(moments, box), []
    for axis in range(3):
        below = cells.sum(axis=tuple(other + 1 for other in range(3) if other != axis)).cumsum(axis=1)
        above = below[:, -1:] - below
        left = np.where((below[0] > 0) & (above[0] > 0), spread(below) + spread(above), np.inf)
        position = int(left.argmin())
        cuts.append((left[position], axis, box[axis][0] + position + 1))
    smallest, axis, position = min(cuts)
    if np.isinf(smallest):
        return 0, ()
    (first, end), before, after = box[axis], box[:axis], box[axis + 1:]
    halves = tuple((*before, part, *after) for part in ((first, position), (position, end)))
    return float(spread(cells.sum(axis=(1, 2, 3)))), halves
