"""Distortions of tone: each output value depends on the input value at the same place, and on the histogram at most.

Of KADID-10k, all follow the authors' code. Since it stretches every result to [0, 1] again, its mean shift cuts one end
of the range off and gives the rest back: level 3 changes nothing, and levels 1 and 5 raise the contrast.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from iqa_lab.distortions.lab import lab_to_rgb, rgb_to_lab
from iqa_lab.distortions.rounding import to_bytes
from iqa_lab.distortions.thresholds import otsu_thresholds

BT601 = np.array([299, 587, 114])  # luma weights in thousandths, ITU-R BT.601


def contrast_change(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its distance from the mean luma multiplied by ``factor``."""
    return to_bytes(scale_around_mean(image, image, factor))


def darkening(image: np.ndarray, stops: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as if exposed ``stops`` photographic stops less: its linear light (sRGB) times 2**-stops."""
    encoded = np.arange(256) / 255  # the curve of IEC 61966-2-1
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4) * 2.0**-stops
    table = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return to_bytes(255 * table)[image]


def luminance_preserving_contrast(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with *more* contrast: ``factor`` times the distance from the mean luma, at the same mean luma.

    Values beyond 0 and 255 are clipped, which would change the mean; all values are moved by as many whole levels as
    bring it back, to within about half a level.
    """
    histogram = sum(int(weight) * np.bincount(image[..., channel].ravel(), minlength=256)
                    for channel, weight in enumerate(BT601))
    offsets = sorted(range(-255, 256), key=abs)  # of equal ones, the smallest
    tables = to_bytes(scale_around_mean(np.arange(256), image, factor) + np.array(offsets)[:, None])
    change = (tables.astype(np.int64) - np.arange(256)) @ histogram  # of the sum of luma, in thousandths
    return tables[np.abs(change).argmin()][image]


def kadid_brighten(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns two parts of the image under a curve that lifts 0.5 by ``amount`` / 2, one part with its L* lifted."""
    lab = rgb_to_lab(image)
    lab[..., 0] = 100 * parabola(lab[..., 0] / 100, 0.5 + amount / 2)
    return (2 * parabola(image, 0.5 + amount / 2) + lab_to_rgb(lab)) / 3


def kadid_darken(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image under a curve that lowers 0.5 by ``amount`` / 2."""
    return parabola(image, 0.5 - amount / 2)


def kadid_mean_shift(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``amount`` added to all values, clipped to [0, 1]."""
    return np.clip(image + amount, 0, 1)


def kadid_quantisation(image: np.ndarray, n_thresholds: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``n_thresholds`` + 1 values left, the same in all channels, by Otsu's criterion.

    The lowest class becomes 0, the highest 1, each other one its upper threshold.
    """
    pixels, n_thresholds = to_bytes(255 * image), int(n_thresholds)
    histogram = np.bincount(pixels.ravel(), minlength=256)
    if np.count_nonzero(histogram) <= n_thresholds:  # fewer values than classes
        return image
    thresholds = otsu_thresholds(histogram, n_thresholds)
    values = np.concatenate(([0], thresholds[1:] / 255, [1]))
    return values[np.searchsorted(thresholds, pixels)]


def kadid_contrast_change(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image under a cubic spline that moves 0.3 and 0.7 to 0.25 and 0.75, and ``amount`` / 4 further."""
    curve = CubicSpline((0, 0.3, 0.5, 0.7, 1), (0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1))
    return np.clip(curve(image), 0, 1)


def parabola(values: np.ndarray, middle: float) -> np.ndarray:
    """Returns the parabola through (0, 0), (0.5, ``middle``) and (1, 1) at the values, clipped to [0, 1]."""
    return np.clip(values * (4 * middle - 1 + (2 - 4 * middle) * values), 0, 1)


def scale_around_mean(values: np.ndarray, image: np.ndarray, factor: float) -> np.ndarray:
    """Returns the values with their distance from the image's mean luma multiplied by ``factor``, in float64."""
    mean = int((image.astype(np.int64) @ BT601).sum()) / (1000 * image[..., 0].size)
    return mean + factor * (values - mean)
