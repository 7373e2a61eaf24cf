"""Ten ways to spoil a photograph, each in five levels, the same bytes on every machine.

Everything is computed in float64 or integers and rounded by :func:`to_bytes`; random numbers come from NumPy's
``RandomState``, whose stream is frozen (NEP 19). Only JPEG and JPEG 2000 depend on the codec built into Pillow.

The kinds follow TID2013 (Ponomarenko et al. 2015) and KADID-10k (Lin, Hosu, Saupe 2019); the level values are our own:
visible at level 1 or 2 on a monitor, strong at level 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

N_LEVELS = 5
BT601 = np.array([299, 587, 114])  # luma weights in thousandths, ITU-R BT.601


@dataclass(frozen=True)
class Distortion:
    """One kind of distortion: ``function(image, value, random) -> image`` and the values of the levels 1 to 5."""

    name: str
    function: Callable[[np.ndarray, float, np.random.RandomState], np.ndarray]
    values: tuple[float, ...]
    parameter: str
    unit: str


def distort(image: np.ndarray, name: str, level: int, seed: int = 0) -> np.ndarray:
    """Returns the distorted image, uint8 of the shape (H, W, 3) of the given one, which stays unchanged.

    Args:
        image: uint8, shape (H, W, 3), RGB, any size.
        name: a key of ``DISTORTIONS``.
        level: 1 (weak) to 5 (strong).
        seed: starts the random numbers of the noises, 0 to 2**32 - 1; the other distortions ignore it.

    Raises:
        TypeError: not a uint8 array. ValueError: wrong shape, unknown name or level.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"Expected a NumPy array of type uint8, got {getattr(image, 'dtype', type(image).__name__)}; "
                        "round to 8 bits first.")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"Expected shape (H, W, 3), got {image.shape}; repeat a gray image three times.")
    if name not in DISTORTIONS:
        raise ValueError(f"Unknown distortion {name!r}; choose one of {', '.join(DISTORTIONS)}.")
    if level not in range(1, N_LEVELS + 1):
        raise ValueError(f"Expected a level from 1 to {N_LEVELS}, got {level!r}.")
    distortion = DISTORTIONS[name]
    return distortion.function(image, distortion.values[level - 1], np.random.RandomState(seed))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Returns the values rounded and clipped to uint8.

    Halves go up with a margin of 1e-6, so that the last bit of a sum, which depends on the order in which a processor
    adds, cannot decide between two bytes.
    """
    return np.clip(np.floor(values + 0.5 + 1e-6), 0, 255).astype(np.uint8)


def gaussian_blur(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after a Gaussian filter of the given standard deviation in pixels."""
    return to_bytes(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), truncate=4))


def motion_blur(image: np.ndarray, length: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as a camera panning sideways over ``length`` pixels sees it: a horizontal mean."""
    return to_bytes(ndimage.uniform_filter1d(image.astype(np.float64), int(length), axis=1))


def white_noise(image: np.ndarray, sigma: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with Gaussian noise of the given standard deviation (gray levels), independent per channel."""
    return to_bytes(image + random.normal(0, sigma, image.shape))


def impulse_noise(image: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with the given share of its values replaced, half of them by 0 and half by 255."""
    chance = random.random_sample(image.shape)
    return np.where(chance < share / 2, 0, np.where(chance >= 1 - share / 2, 255, image)).astype(np.uint8)


def jpeg(image: np.ndarray, quality: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after JPEG with the given quality of the Independent JPEG Group's tables, chroma 4:2:0."""
    return _through_codec(image, format="JPEG", quality=int(quality), subsampling="4:2:0")


def jpeg2000(image: np.ndarray, ratio: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image after lossy JPEG 2000 (wavelet 9/7) at the given ratio of raw to compressed size."""
    resolutions = min(6, min(image.shape[:2]).bit_length())  # a wavelet level halves; tiny images have fewer
    return _through_codec(image, format="JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True,
                          num_resolutions=resolutions)


def contrast_change(image: np.ndarray, factor: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its distance from the mean luma multiplied by ``factor``."""
    mean = int((image.astype(np.int64) @ BT601).sum()) / (1000 * image[..., 0].size)
    return to_bytes(mean + factor * (image - mean))


def colour_quantisation(image: np.ndarray, steps: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with ``steps`` equidistant values left in each channel, without dither."""
    steps = int(steps)
    index = (2 * image.astype(np.int64) * (steps - 1) + 255) // 510  # the nearest step, in integers
    return to_bytes(index * 255 / (steps - 1))


def darkening(image: np.ndarray, stops: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image as if exposed ``stops`` photographic stops less: its linear light (sRGB) times 2**-stops."""
    encoded = np.arange(256) / 255  # the curve of IEC 61966-2-1
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4) * 2.0**-stops
    table = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return to_bytes(255 * table)[image]


def colour_shift(image: np.ndarray, pixels: float, random: np.random.RandomState) -> np.ndarray:
    """Returns the image with its green channel moved down and to the right, the edge repeated: coloured fringes."""
    rows, columns = (np.maximum(np.arange(side) - int(pixels), 0) for side in image.shape[:2])
    shifted = image.copy()
    shifted[..., 1] = image[np.ix_(rows, columns)][..., 1]
    return shifted


def _through_codec(image: np.ndarray, **options) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image).save(file, **options)
    with Image.open(file) as decoded:
        return np.asarray(decoded.convert("RGB"))


DISTORTIONS = {distortion.name: distortion for distortion in (
    Distortion("gaussian_blur", gaussian_blur, (0.7, 1.2, 2.0, 3.3, 5.5), "sigma", "pixels"),
    Distortion("motion_blur", motion_blur, (3, 7, 13, 21, 33), "length", "pixels"),
    Distortion("white_noise", white_noise, (6, 12, 20, 33, 52), "sigma", "gray levels of 255"),
    Distortion("impulse_noise", impulse_noise, (0.003, 0.01, 0.03, 0.07, 0.15), "share", "of the values"),
    Distortion("jpeg", jpeg, (38, 20, 12, 8, 5), "quality", "1 to 100"),
    Distortion("jpeg2000", jpeg2000, (20, 40, 75, 140, 260), "ratio", "raw : compressed"),
    Distortion("contrast_change", contrast_change, (0.8, 0.62, 0.46, 0.32, 0.2), "factor", "1 is unchanged"),
    Distortion("colour_quantisation", colour_quantisation, (18, 11, 8, 6, 4), "steps", "values per channel"),
    Distortion("darkening", darkening, (0.6, 1.2, 1.9, 2.7, 3.6), "stops", "photographic stops"),
    Distortion("colour_shift", colour_shift, (1, 2, 4, 7, 12), "displacement", "pixels to the right and down"),
)}
