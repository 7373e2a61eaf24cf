"""Simulated photographs: what light, lens, hand, sensor and file do to a flat object, and six measures of the result.

Nothing here was measured on a real camera. Light is added and blurred as light, not as pixel values; random numbers
come from NumPy's ``RandomState``.
Chapter: 14
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from iqa_lab.distortions.blur import convolve, disk_kernel, line_kernel
from iqa_lab.distortions.compression import through_codec
from iqa_lab.distortions.rounding import to_bytes

GAMMA = 2.2  # pixel values are the 2.2th root of light, near enough to sRGB
LIGHT = (np.arange(256) / 255) ** GAMMA  # linear light of each pixel value
BT601 = np.array([0.299, 0.587, 0.114])
SPOT = 0.25  # radius of a reflection, as a share of the page's width
MEASURES = ("brightness", "contrast", "clipped", "sharpness", "noise", "blocks")
CLIPPED = 0.97  # luma that counts as burnt out
DARK_NOISE = 0.1  # of the variance of the noise at white, the share that is there in the dark
FAULTS = ("out of focus", "too dark", "reflection", "compressed")
MILD = 0.3  # the largest strength of the faults that are not the main one


@dataclass(frozen=True)
class Capture:
    """How a page was photographed; the defaults are a steady hand in good light.

    Attributes:
        blur: radius of the disk of an unfocused lens, in pixels.
        motion: length of the line that a moving hand draws, in pixels; its direction is random.
        darkness: photographic stops of light that are missing.
        reflection: peak of a bright spot, as a share of white.
        noise: standard deviation of the sensor's noise at white, as a share of white.
        quality: of the JPEG file, 1 to 100.
    """

    blur: float = 0.0
    motion: float = 1.0
    darkness: float = 0.0
    reflection: float = 0.0
    noise: float = 0.02
    quality: int = 92


def random_capture(random: np.random.RandomState) -> tuple[Capture, str]:
    """Returns a capture with four faults, one of which may be severe, and the name of the strongest in ``FAULTS``.

    Strengths are uniform from 0 to 1 for a fault drawn at random, and from 0 to ``MILD`` for the others. Strength 1 is
    a disk of radius 3 pixels, 8 stops, a spot of twice the light of white, and JPEG quality 3.
    """
    strengths = MILD * random.random_sample(4)
    strengths[random.randint(4)] = random.random_sample()
    blur, darkness, reflection, loss = strengths
    capture = Capture(blur=3 * blur, darkness=8 * darkness, reflection=2 * reflection,
                      quality=int(3 + 92 * (1 - loss) ** 1.5))
    return capture, FAULTS[int(strengths.argmax())]


def photograph(image: np.ndarray, capture: Capture, seed: int) -> np.ndarray:
    """Returns a simulated photograph of a flat page that fills the frame, uint8 of the page's shape.

    In this order, in linear light: uneven lighting, lens and motion blur, a reflection, noise, clipping; then gamma, 8
    bits and JPEG. The page is straight and fills the frame, as after an app has cut it out.

    Args:
        image: uint8, shape (H, W, 3).
        capture: what goes wrong.
        seed: decides the direction of the light and of the motion, the place of the reflection, and the noise.
    """
    check_bytes(image)
    random = np.random.RandomState(seed)
    light = LIGHT[image] * 2.0**-capture.darkness * lighting(image.shape[:2], random)
    direction = random.randint(0, 181)
    if capture.blur > 0:
        light = convolve(light, disk_kernel(capture.blur))
    if capture.motion > 1:
        light = convolve(light, line_kernel(capture.motion, direction))
    light = light + capture.reflection * spot(image.shape[:2], random)
    return develop(light, capture.noise, capture.quality, random)


def develop(light: np.ndarray, noise: float, quality: int, random: np.random.RandomState) -> np.ndarray:
    """Returns what sensor and file make of linear light (H, W, 3), where 1 is white: noise, clipping, gamma, JPEG.

    The variance of the noise grows with the light, from a tenth of its value at white.
    """
    deviation = noise * np.sqrt(DARK_NOISE + (1 - DARK_NOISE) * np.maximum(light, 0))
    light = np.clip(light + deviation * random.normal(size=light.shape), 0, 1)
    return through_codec(to_bytes(255 * light ** (1 / GAMMA)), format="JPEG", quality=quality)


def photo_measures(photo: np.ndarray) -> np.ndarray:
    """Returns the six logarithms that ``MEASURES`` names, of a photo uint8 (H, W, 3); the page's text is not needed.

    The 75th percentile of luma stands for the paper and the first for the ink. Sharpness is the 99th percentile of the
    Laplacian's magnitude and noise its median, both relative to the contrast. Blocks compares steps between columns at
    the borders of 8 x 8 blocks with those in their middle.
    """
    check_bytes(photo)
    luma = photo @ BT601 / 255
    ink, paper = np.percentile(luma, (1, 75))
    contrast = paper - ink + 1 / 255
    noise, sharpness = np.percentile(np.abs(ndimage.laplace(luma)) / contrast, (50, 99)) + 1e-3
    steps = np.abs(np.diff(luma, axis=1)).mean(0) + 1e-4
    clipped = np.mean(luma > CLIPPED) + 1e-3
    return np.log([paper + 1 / 255, contrast, clipped, sharpness, noise, steps[7::8].mean() / steps[3::8].mean()])


def check_bytes(image: np.ndarray) -> None:
    """Raises ValueError for anything but a uint8 array of shape (H, W, 3)."""
    found = (getattr(image, "dtype", type(image).__name__), np.shape(image))
    if found[0] != np.uint8 or len(found[1]) != 3 or found[1][2] != 3:
        raise ValueError(f"Expected a uint8 array of shape (H, W, 3), got {found[0]} {found[1]}; "
                         "round to 8 bits, and put the channels last.")


def lighting(shape: tuple[int, int], random: np.random.RandomState) -> np.ndarray:
    """Returns a slope of light from 1 down to 0.6 across the page in a random direction, shape (H, W, 1)."""
    angle = 2 * np.pi * random.random_sample()
    rows, columns = (np.linspace(-1, 1, side) for side in shape)
    slope = np.sin(angle) * rows[:, None] + np.cos(angle) * columns
    return 0.8 + 0.2 * (slope / np.abs(slope).max())[..., None]


def spot(shape: tuple[int, int], random: np.random.RandomState) -> np.ndarray:
    """Returns a soft round spot of height 1 at a random place, shape (H, W, 1)."""
    centre = random.random_sample(2) * shape
    rows, columns = np.ogrid[:shape[0], :shape[1]]
    distance = np.hypot(rows - centre[0], columns - centre[1]) / (SPOT * shape[1])
    return np.exp(-distance**4)[..., None]
