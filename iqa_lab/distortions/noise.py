"""Noises, and what a denoiser leaves of an image after one.

Of KADID-10k: ``kadid_denoise`` deviates. The authors remove the noise with MATLAB's pretrained network DnCNN, which
cannot ship. A classical denoiser stands in: hard thresholding of the cosine transform of overlapping 8 x 8 blocks (Yu,
Sapiro 2011) at three standard deviations, as they take it, every second position. The other noises follow the authors'
calls of imnoise.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from iqa_lab.distortions.rounding import to_bytes

#: MATLAB's rgb2ycbcr: BT.601 in studio range, as shares of 255.
RGB_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
YCBCR_TO_RGB = np.linalg.inv(RGB_TO_YCBCR)
YCBCR_OFFSET = np.array([16, 128, 128]) / 255
BLOCK, STEP, THRESHOLD = 8, 2, 3  # pixels, pixels, standard deviations of the noise


def white_noise(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with Gaussian noise of the given standard deviation (gray levels), independent per channel."""
    return to_bytes(image + random.normal(0, sigma, image.shape))


def impulse_noise(image: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with the given share of its values replaced, half of them by 0 and half by 255."""
    chance = random.random_sample(image.shape)
    return np.where(chance < share / 2, 0, np.where(chance >= 1 - share / 2, 255, image)).astype(np.uint8)


def kadid_white_noise(image: np.ndarray, variance: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with Gaussian noise of the given variance, independent per channel, clipped to [0, 1]."""
    return np.clip(image + random.normal(0, math.sqrt(variance), image.shape), 0, 1)


def kadid_white_noise_colour(image: np.ndarray, variance: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with Gaussian noise of the given variance added to its Y, Cb and Cr."""
    noisy = kadid_white_noise(image @ RGB_TO_YCBCR.T + YCBCR_OFFSET, variance, random)
    return np.clip((noisy - YCBCR_OFFSET) @ YCBCR_TO_RGB.T, 0, 1)


def kadid_impulse_noise(image: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with the given share of its values replaced, half of them by 0 and half by 1."""
    chance = random.random_sample(image.shape)
    return np.where(chance < share / 2, 0, np.where(chance < share, 1, image))


def kadid_multiplicative_noise(image: np.ndarray, variance: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image times 1 + n, with n uniform, of mean 0 and the given variance: the "speckle" of imnoise."""
    speckle = math.sqrt(12 * variance) * (random.random_sample(image.shape) - 0.5)
    return np.clip(image + speckle * image, 0, 1)


def kadid_denoise(image: np.ndarray, variance: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after Gaussian noise of the given variance and a denoiser that knows this variance."""
    noisy = kadid_white_noise(image, variance, random)
    return np.clip(threshold_cosines(noisy, THRESHOLD * math.sqrt(variance)), 0, 1)


def threshold_cosines(image: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the mean over all shifted grids of blocks in which cosine coefficients below the threshold are 0."""
    height, width = image.shape[:2]
    padding = [(BLOCK, BLOCK + -side % BLOCK) for side in (height, width)]
    padded = np.pad(image, (*padding, (0, 0)), mode="symmetric")
    rows, columns = padded.shape[0] - BLOCK, padded.shape[1] - BLOCK
    total = np.zeros(image.shape)
    for top in range(0, BLOCK, STEP):
        for left in range(0, BLOCK, STEP):
            grid = padded[top:top + rows, left:left + columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK, 3)
            cosines = fft.dctn(grid, axes=(1, 3), norm="ortho")
            kept = np.abs(cosines) >= threshold
            kept[:, 0, :, 0] = True  # the mean of a block always stays
            smooth = fft.idctn(cosines * kept, axes=(1, 3), norm="ortho").reshape(rows, columns, 3)
            total += smooth[BLOCK - top:, BLOCK - left:][:height, :width]
    return total / (BLOCK // STEP) ** 2
