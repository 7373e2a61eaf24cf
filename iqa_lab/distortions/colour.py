"""Distortions of colour.

Of KADID-10k, all follow the authors' code, ``kadid_colour_shift`` with a random direction of our own, and
``kadid_colour_quantisation`` with Pillow's dither (Floyd, Steinberg) instead of MATLAB's, which gives another pattern.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from iqa_lab.distortions.blur import gaussian_filter
from iqa_lab.distortions.lab import lab_to_rgb, rgb_to_lab
from iqa_lab.distortions.palette import minimum_variance_palette
from iqa_lab.distortions.rounding import stretch, to_bytes

LUMA_MATLAB = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])  # the weights of its rgb2gray
EDGE_SIGMA, EDGE_RADIUS = 4, 8  # of the map of edges, in pixels
EDGE_FLOOR, TAIL = 0.1, 1  # weaker edges count as none; percent at either end that saturate


def colour_quantisation(image: np.ndarray, steps: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``steps`` equidistant values left in each channel, without dither."""
    steps = int(steps)
    index = (2 * image.astype(np.int64) * (steps - 1) + 255) // 510  # the nearest step, in integers
    return to_bytes(index * 255 / (steps - 1))


def colour_shift(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its green channel moved down and to the right, the edge repeated: coloured fringes."""
    moved = image.copy()
    moved[..., 1] = move(image[..., 1], int(pixels), int(pixels))
    return moved


def kadid_colour_diffusion(image: np.ndarray, amount: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with a* and b* blurred (sigma 2 + 1.5 ``amount`` pixels) and multiplied by ``amount``."""
    lab, sigma = rgb_to_lab(image), 2 + 1.5 * amount
    lab[..., 1:] = amount * gaussian_filter(lab[..., 1:], sigma, math.ceil(2 * sigma))
    return lab_to_rgb(lab)


def kadid_colour_shift(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its green channel moved by ``pixels``, down and right at a random angle, near edges."""
    direction = random.random_sample(2)
    down, right = np.floor(pixels * direction / np.hypot(*direction) + 0.5).astype(int)
    weight, green = edge_map(image), image[..., 1]
    result = image.copy()
    result[..., 1] = weight * move(green, down, right) + (1 - weight) * green
    return result


def kadid_colour_quantisation(image: np.ndarray, n_colours: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image in ``n_colours`` colours of its own, with dither, as rgb2ind makes it."""
    pixels = to_bytes(255 * image)
    colours = np.resize(minimum_variance_palette(pixels, int(n_colours)), (256, 3))  # repeated: no entry is left black
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    indexed = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(indexed.convert("RGB")) / 255


def kadid_colour_saturation_1(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with the saturation of its HSV multiplied by ``factor``; below 0 the hue turns to its opposite.

    HSV saturation scales the distances of the three channels from the largest one, so no conversion is needed.
    """
    largest = image.max(axis=2, keepdims=True)
    return largest - factor * (largest - image)


def kadid_colour_saturation_2(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its a* and b* multiplied by ``factor``."""
    return lab_to_rgb(rgb_to_lab(image) * (1, factor, factor))


def edge_map(image: np.ndarray) -> np.ndarray:
    """Returns a map in [0, 1], 1 along the strong edges of an image in [0, 1] and 0 far from any edge."""
    slope = np.hypot(*np.gradient(image @ LUMA_MATLAB))
    smooth = stretch(gaussian_filter(slope, EDGE_SIGMA, EDGE_RADIUS))
    edges = stretch(np.maximum(smooth, EDGE_FLOOR))
    ordered, rank = np.sort(edges, axis=None), ((100 - TAIL) * edges.size + 50) // 100
    return stretch(np.clip(edges, ordered[-rank], ordered[rank - 1]))


def move(channel: np.ndarray, down: int, right: int) -> np.ndarray:
    """Returns the channel moved down and to the right by whole pixels, the edge repeated."""
    rows, columns = (np.maximum(np.arange(side) - by, 0) for side, by in zip(channel.shape, (down, right), strict=True))
    return channel[np.ix_(rows, columns)]
