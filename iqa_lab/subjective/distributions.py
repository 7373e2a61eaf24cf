"""How the ratings of an image spread over bins: from the single ratings, or from their mean and standard deviation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

N_BINS = 10  # of NIMA, ratings from 1 to 10
NEWTON_STEPS = 100
SMALLEST_STEP = 2.0**-30
MARGIN = 0.02  # in bins: how far mean and variance stay inside of what a distribution can have


def rating_distributions(ratings: ArrayLike, *, low: float, high: float) -> np.ndarray:
    """Returns the distribution of each image's ratings over 10 bins, float64 (images, 10); rows sum to 1.

    The first bin is the low end of the scale and the last one the high end. A rating between two bins belongs to both in
    shares that keep the mean; on a scale of the numbers 1 to 10 every bin has its votes.

    Args:
        ratings: shape (persons, images), NaN where a person did not rate an image.
        low, high: ends of the scale.

    Raises:
        ValueError: ratings outside the scale, an image without ratings, or another shape.
    """
    ratings = np.asarray(ratings, dtype=float)
    if ratings.ndim != 2 or np.isnan(ratings).all(0).any():
        raise ValueError(f"Expected ratings of shape (persons, images), at least one of each image, got {ratings.shape}; "
                         "leave out the images that nobody rated.")
    if np.nanmin(ratings) < low or np.nanmax(ratings) > high:
        raise ValueError(f"Expected ratings from {low:g} to {high:g}, got {np.nanmin(ratings):g} to "
                         f"{np.nanmax(ratings):g}; give the ends of the scale that people had.")
    position = (N_BINS - 1) * (ratings - low) / (high - low)
    shares = np.clip(1 - np.abs(position[..., None] - np.arange(N_BINS)), 0, 1)  # persons, images, bins
    return np.where(np.isnan(shares), 0, shares).sum(0) / (~np.isnan(ratings)).sum(0)[:, None]


def maximum_entropy_distributions(mean: ArrayLike, deviation: ArrayLike, *, low: float, high: float) -> np.ndarray:
    """Returns the distributions over 10 bins that have these moments and assume nothing else, float64 (n, 10).

    They are p_i proportional to exp(a i + b i^2), with a and b by Newton's method on the convex dual. Moments that no
    distribution on ten bins has (a deviation smaller than that of the two bins beside the mean, or larger than that of the
    two ends) are brought to the nearest ones that some has.

    Args:
        mean, deviation: of the opinions about each image, on the scale of the database, shape (n,).
        low, high: ends of the scale: what the first and the last bin stand for.

    Raises:
        ValueError: a mean outside the scale, a negative deviation, or not finite.
    """
    mean, deviation = (np.asarray(values, dtype=float) for values in (mean, deviation))
    if not (np.isfinite(mean) & np.isfinite(deviation) & (mean >= low) & (mean <= high) & (deviation >= 0)).all():
        raise ValueError(f"Expected means from {low:g} to {high:g} and deviations of 0 or more, got "
                         f"{np.min(mean):g} to {np.max(mean):g} and {np.min(deviation):g} to {np.max(deviation):g}.")
    last = N_BINS - 1
    mu = np.clip(last * (mean - low) / (high - low), MARGIN, last - MARGIN)
    share = mu % 1
    variance = np.clip((last * deviation / (high - low))**2, share * (1 - share) + MARGIN, mu * (last - mu) * (1 - MARGIN))
    x = np.arange(N_BINS) - last / 2
    statistics = np.stack((x, x * x), 1)  # bins, 2
    moments = np.stack((mu - last / 2, variance + (mu - last / 2)**2), 1)  # n, 2

    def dual(multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what is to be made small, shape (n,), and the distributions of these multipliers."""
        exponents = multipliers @ statistics.T
        top = exponents.max(1, keepdims=True)
        sums = np.exp(exponents - top).sum(1)
        return np.log(sums) + top[:, 0] - (multipliers * moments).sum(1), np.exp(exponents - top) / sums[:, None]

    multipliers = np.zeros_like(moments)
    value, p = dual(multipliers)
    for _ in range(NEWTON_STEPS):
        found = p @ statistics
        covariance = np.einsum("ni,ij,ik->njk", p, statistics, statistics) - found[:, :, None] * found[:, None]
        direction = np.linalg.solve(covariance + 1e-12 * np.eye(2), (moments - found)[..., None])[..., 0]
        step = np.ones(len(mean))
        while True:
            new_value, new_p = dual(multipliers + step[:, None] * direction)
            worse = (new_value > value) & (step > SMALLEST_STEP)
            if not worse.any():
                break
            step[worse] /= 2
        keep = new_value < value
        multipliers[keep] += (step[:, None] * direction)[keep]
        value, p = np.where(keep, new_value, value), np.where(keep[:, None], new_p, p)
        if not keep.any():
            break
    return p
