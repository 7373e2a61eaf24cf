"""From pixel values to light: the luminance a display emits, and how many of its pixels fit into a degree of vision.

A model of the visual system works on cd/m2 and cycles per degree; pixel values have neither unit until someone says
which display shows them, in which room, and from how far away they are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from iqa_lab.ops.color import rgb_to_luma_matlab, srgb_to_linear

#: The display that HDR-VDP-2 assumes under pixel values: peak and black level in cd/m2, and the gamma of luma.
HDR_VDP_PEAK, HDR_VDP_BLACK, HDR_VDP_GAMMA = 100.0, 1.0, 2.2
MM_PER_INCH = 25.4


def display_light(linear: torch.Tensor, *, peak: float, black: float, reflected: float = 0.0) -> torch.Tensor:
    """Returns what a display sends to the eye, (peak - black) linear + black + reflected, in cd/m2.

    Args:
        linear: relative light in [0, 1], any shape.
        peak, black: luminance of white and of black in a dark room, cd/m2.
        reflected: light of the room that the screen reflects, cd/m2; :func:`reflected_light` gives it.

    >>> display_light(torch.tensor([0.0, 1.0]), peak=100.0, black=0.5, reflected=1.5)
    tensor([  2.0000, 101.5000])
    """
    return (peak - black) * linear + (black + reflected)


def reflected_light(illuminance: float, reflectivity: float) -> float:
    """Returns the luminance of a matt screen under room light, illuminance times reflectivity over pi, in cd/m2.

    Args:
        illuminance: of the screen, in lux. An office has some 250, a living room in the evening 10.
        reflectivity: share of the light that the screen reflects, 0.005 for a good one.

    >>> round(reflected_light(250.0, 0.005), 3)
    0.398
    """
    return illuminance * reflectivity / math.pi


def srgb_display(image: torch.Tensor) -> torch.Tensor:
    """Returns the "sRGB-display" encoding of HDR-VDP-2, 99 sRGB + 1 per channel; gray counts as R = G = B.

    Args:
        image: shape (N, C, H, W), values in [0, 1].

    Returns:
        Shape (N, 3, H, W), cd/m2 per channel of a display with 100 cd/m2 at white and 1 at black.
    """
    light = display_light(srgb_to_linear(image), peak=HDR_VDP_PEAK, black=HDR_VDP_BLACK)
    return light.expand(-1, 3, -1, -1)


def luma_display(image: torch.Tensor) -> torch.Tensor:
    """Returns the "luma-display" encoding of HDR-VDP-2, 99 luma^2.2 + 1, in cd/m2.

    Args:
        image: shape (N, C, H, W), values in [0, 1]. The encoding wants gray images and leaves open how colour becomes
            gray: here by :func:`iqa_lab.ops.color.rgb_to_luma_matlab`, which rounds to 8 bits.

    Returns:
        Shape (N, 1, H, W).
    """
    luma = rgb_to_luma_matlab(image)
    return display_light(luma**HDR_VDP_GAMMA, peak=HDR_VDP_PEAK, black=HDR_VDP_BLACK)


#: The display encodings of HDR-VDP-2 by the names of its authors.
ENCODINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sRGB-display": srgb_display, "luma-display": luma_display}


def to_light(image: torch.Tensor, encoding: str) -> torch.Tensor:
    """Returns what the display of a named encoding emits, in cd/m2: shape (N, 3, H, W) or (N, 1, H, W).

    Args:
        image: shape (N, C, H, W), values in [0, 1].
        encoding: a key of ``ENCODINGS``.

    Raises:
        ValueError: unknown encoding.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"Expected encoding {' or '.join(map(repr, ENCODINGS))}, got {encoding!r}.")
    return ENCODINGS[encoding](image)


def pixels_per_degree(resolution: tuple[int, int], diagonal: float, distance: float) -> float:
    """Returns the pixels per degree of visual angle, averaged over the height of the display.

    Args:
        resolution: width and height in pixels, which are square.
        diagonal: of the visible area, in inches.
        distance: from the eye, in metres.

    >>> round(pixels_per_degree((1920, 1200), 24.0, 0.5), 2)
    33.51
    """
    width, height = resolution
    height_mm = diagonal * MM_PER_INCH * height / math.hypot(width, height)
    return height / (2 * math.degrees(math.atan(0.5 * height_mm / (1000 * distance))))
