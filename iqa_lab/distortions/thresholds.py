"""Several thresholds of Otsu's kind, found by a search that starts evenly spaced: MATLAB's multithresh."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

START_STEP = 0.05  # the corners of the first simplex: each coordinate in turn 5 % larger
POINT_TOLERANCE, VALUE_TOLERANCE = 1, 1e-4  # gray levels and their squares, below which the search stops
STEPS = 200  # at most, times the number of thresholds

Corner = tuple[float, np.ndarray]


def otsu_thresholds(histogram: np.ndarray, n_thresholds: int) -> np.ndarray:
    """Returns the largest level of each class but the last, so that the means of the classes differ much (Otsu 1979).

    The search stops at the first good place, as the authors' does, and not at the best one.

    Args:
        histogram: 256 counts.
        n_thresholds: 1 to 20.
    """
    counts = np.concatenate(([0], np.cumsum(histogram)))
    sums = np.concatenate(([0], np.cumsum(histogram * np.arange(256))))

    def within_class_variance(thresholds: np.ndarray) -> float:
        """Up to a constant, from whole numbers; an empty class adds nothing."""
        ends = np.concatenate(([0], np.floor(thresholds + 0.5).astype(int) + 1, [256]))
        if ends[1] < 2 or (np.diff(ends) < 1).any():
            return math.inf
        pixels, total = np.diff(counts[ends]), np.diff(sums[ends])
        return -math.fsum(total.astype(float) ** 2 / np.maximum(pixels, 1)) / counts[-1]

    start = np.linspace(0, 255, n_thresholds + 2)[1:-1]
    return np.floor(simplex_search(within_class_variance, start) + 0.5).astype(int)


def simplex_search(function: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
    """Returns where the search of Nelder and Mead (1965) ends, with the steps and rules of MATLAB's fminsearch."""
    size = len(start)
    corners = [evaluate(function, start * (1 + START_STEP * row)) for row in np.eye(size + 1, size, k=-1)]
    for _ in range(STEPS * size):
        corners.sort(key=lambda corner: corner[0])  # stable: equal values keep their order
        best, worst = corners[0], corners[-1]
        reach = max(np.abs(point - best[1]).max() for _, point in corners)
        if worst[0] - best[0] <= VALUE_TOLERANCE and reach <= POINT_TOLERANCE:
            break
        better = better_corner(function, corners)
        if better is None:  # everything moves halfway to the best corner
            corners[1:] = [evaluate(function, (point + best[1]) / 2) for _, point in corners[1:]]
        else:
            corners[-1] = better
    return corners[0][1]


def better_corner(function: Callable[[np.ndarray], float], corners: list[Corner]) -> Corner | None:
    """Returns a corner to replace the worst one, on the line from it through the centre of the others, or None."""
    second_worst, (worst, worst_point) = corners[-2][0], corners[-1]
    centre = sum(point for _, point in corners[:-1]) / (len(corners) - 1)
    reflected = evaluate(function, centre + (centre - worst_point))
    if reflected[0] < corners[0][0]:
        expanded = evaluate(function, centre + 2 * (centre - worst_point))
        return expanded if expanded[0] < reflected[0] else reflected
    if reflected[0] < second_worst:
        return reflected
    outside = reflected[0] < worst
    contracted = evaluate(function, centre + (0.5 if outside else -0.5) * (centre - worst_point))
    accepted = contracted[0] <= reflected[0] if outside else contracted[0] < worst
    return contracted if accepted else None


def evaluate(function: Callable[[np.ndarray], float], point: np.ndarray) -> Corner:
    """Returns the value of the function and the point."""
    return function(point), point
