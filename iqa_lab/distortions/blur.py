"""Blurs, and the overdone opposite of a blur.

Of KADID-10k, all follow the authors' code. Two details differ: ``disk_kernel`` measures areas in slices, not in closed
form (1e-5 apart), and ``kadid_high_sharpen`` takes L* for the white point D65, not for D50 as imsharpen does.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, signal

from iqa_lab.distortions.lab import lab_to_rgb, rgb_to_lab
from iqa_lab.distortions.rounding import to_bytes

SHARPEN_SIGMA, SHARPEN_RADIUS = 3, 6  # imsharpen with Radius 3: a Gaussian of 13 x 13 pixels
SLICES = 1000  # of a pixel, for the area that a disk covers


def gaussian_blur(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after a Gaussian filter of the given standard deviation in pixels."""
    return to_bytes(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), truncate=4))


def motion_blur(image: np.ndarray, length: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as a camera panning sideways over ``length`` pixels sees it: a horizontal mean."""
    return to_bytes(ndimage.uniform_filter1d(image.astype(np.float64), int(length), axis=1))


def kadid_gaussian_blur(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after imgaussfilt: a Gaussian cut off at two standard deviations, the edge repeated."""
    return gaussian_filter(image, sigma, math.ceil(2 * sigma))


def kadid_lens_blur(image: np.ndarray, radius: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as a lens out of focus draws it: the mean over a disk around each pixel."""
    return convolve(image, disk_kernel(radius))


def kadid_motion_blur(image: np.ndarray, length: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the mean over a line through each pixel, in a random direction of 0, 1, ... or 180 degrees."""
    return convolve(image, line_kernel(length, random.randint(0, 181)))


def kadid_high_sharpen(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``amount`` times its fine detail (L* minus blurred L*) added to the lightness L*."""
    lab = rgb_to_lab(image)
    lab[..., 0] += amount * (lab[..., 0] - gaussian_filter(lab[..., 0], SHARPEN_SIGMA, SHARPEN_RADIUS))
    return lab_to_rgb(lab)


def gaussian_filter(image: np.ndarray, sigma: float, radius: int) -> np.ndarray:
    """Returns the image filtered along both sides by a Gaussian of 2 radius + 1 taps, the edge repeated."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    for axis in (0, 1):
        image = ndimage.correlate1d(image, taps / taps.sum(), axis, mode="nearest")
    return image


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the convolution of each channel with a kernel of odd sides, the edge repeated."""
    rows, columns = (side // 2 for side in kernel.shape)
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    return signal.fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1))


def disk_kernel(radius: float) -> np.ndarray:
    """Returns the share of each pixel that a disk covers, divided by the sum (fspecial 'disk')."""
    pixels = np.arange(-math.ceil(radius - 0.5), math.ceil(radius - 0.5) + 1)
    x = pixels[:, None] + (np.arange(SLICES) + 0.5) / SLICES - 0.5
    half_chord = np.sqrt(np.maximum(radius**2 - x**2, 0))
    y = pixels[:, None, None]
    covered = np.minimum(y + 0.5, half_chord) - np.maximum(y - 0.5, -half_chord)
    kernel = np.maximum(covered, 0).mean(axis=2)
    return kernel / kernel.sum()


def line_kernel(length: float, degrees: int) -> np.ndarray:
    """Returns a line of the given length, 1 pixel to either side fading out, divided by the sum (fspecial 'motion').

    The angle counts counterclockwise from the rows, of which the first is on top.
    """
    half, reach = (length - 1) / 2, math.ceil((length - 1) / 2)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = np.mgrid[reach:-reach - 1:-1, -reach:reach + 1]
    across, along = np.abs(y * cosine - x * sine), np.abs(x * cosine + y * sine)
    distance = np.where(x**2 + y**2 >= half**2, np.hypot(across, half - along), across)
    kernel = np.maximum(1 - distance, 0)
    return kernel / kernel.sum()
