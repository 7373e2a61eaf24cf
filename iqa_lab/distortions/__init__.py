"""Ways to spoil a photograph, each in five levels, the same bytes on every machine.

Ten of our own, which the database ``embedded`` is made of; the 25 of KADID-10k, whose names begin with ``kadid_``; and
eight that people hardly mind while they are weak: shifts, warps, exchanged texture, more contrast.

Paper: H. Lin, V. Hosu, D. Saupe, "KADID-10k: a large-scale artificially distorted IQA database", QoMEX 2019,
    doi:10.1109/QoMEX.2019.8743252. Our ten follow kinds of TID2013 (Ponomarenko et al. 2015) at levels of our own.
Reference: the authors' MATLAB code, imdist_generator.m and what it calls, as released with KADIS-700k. It stretches
    each image to [0, 1] over all channels before *and* after every distortion; so do we. Hence a strong blur also comes
    with more contrast, and some steps change nothing at all: Gaussian blur, motion blur and colour saturation 2 at
    level 1, mean shift at level 3.
Deviations: random numbers are ours. ``kadid_denoise`` has another denoiser, ``kadid_jpeg2000`` another encoder,
    ``kadid_colour_quantisation`` another dither; the files name small ones. Two official images of Gaussian blur are
    equal byte for byte. On picture I01 the 15 kinds that can be compared (of random directions, the one that fits)
    have the Butteraugli scores published for the official images (VQMTCrossVal, 2020) to 0.1 %, except one level of
    quantisation (0.8 %).

Everything is computed in float64 or integers and rounded by :func:`to_bytes`; random numbers come from NumPy's
``RandomState``, whose stream is frozen (NEP 19). Only JPEG, JPEG 2000 and the dither depend on what is built into
Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from iqa_lab.distortions import blur, colour, compression, noise, spatial, tone, warps
from iqa_lab.distortions.rounding import stretch, to_bytes

N_LEVELS = 5


@dataclass(frozen=True)
class Distortion:
    """One kind of distortion: ``function(image, value, random) -> image`` and the values of the levels 1 to 5.

    Attributes:
        kadid: the function takes and returns floats, which are stretched to [0, 1] before and after.
        minimum_side: of the image, in pixels.
    """

    name: str
    function: Callable[[np.ndarray, float, np.random.RandomState], np.ndarray]
    values: tuple[float, ...]
    parameter: str
    unit: str
    kadid: bool = False
    minimum_side: int = 1


def distort(image: np.ndarray, name: str, level: int, seed: int = 0) -> np.ndarray:
    """Returns the distorted image, uint8 of the shape (H, W, 3) of the given one, which stays unchanged.

    Args:
        image: uint8, shape (H, W, 3), RGB, any size; a few distortions need 2, 32 or 48 pixels a side.
        name: a key of ``DISTORTIONS``.
        level: 1 (weak) to 5 (strong).
        seed: starts the random numbers, 0 to 2**32 - 1, of noises, places and directions; others ignore it.

    Raises:
        TypeError: not a uint8 array. ValueError: wrong shape, too small, unknown name or level.
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
    if min(image.shape[:2]) < distortion.minimum_side:
        raise ValueError(f"Expected sides of {distortion.minimum_side} pixels or more for {name}, got "
                         f"{image.shape[0]} x {image.shape[1]}; take a larger image.")
    value, random = distortion.values[level - 1], np.random.RandomState(seed)
    if distortion.kadid:
        return to_bytes(255 * stretch(distortion.function(stretch(image / 255), value, random)))
    return distortion.function(image, value, random)


DISTORTIONS = {distortion.name: distortion for distortion in (
    Distortion("gaussian_blur", blur.gaussian_blur, (0.7, 1.2, 2.0, 3.3, 5.5), "sigma", "pixels"),
    Distortion("motion_blur", blur.motion_blur, (3, 7, 13, 21, 33), "length", "pixels"),
    Distortion("white_noise", noise.white_noise, (6, 12, 20, 33, 52), "sigma", "gray levels of 255"),
    Distortion("impulse_noise", noise.impulse_noise, (0.003, 0.01, 0.03, 0.07, 0.15), "share", "of the values"),
    Distortion("jpeg", compression.jpeg, (38, 20, 12, 8, 5), "quality", "1 to 100"),
    Distortion("jpeg2000", compression.jpeg2000, (20, 40, 75, 140, 260), "ratio", "raw : compressed"),
    Distortion("contrast_change", tone.contrast_change, (0.8, 0.62, 0.46, 0.32, 0.2), "factor", "1 is unchanged"),
    Distortion("colour_quantisation", colour.colour_quantisation, (18, 11, 8, 6, 4), "steps", "values per channel"),
    Distortion("darkening", tone.darkening, (0.6, 1.2, 1.9, 2.7, 3.6), "stops", "photographic stops"),
    Distortion("colour_shift", colour.colour_shift, (1, 2, 4, 7, 12), "displacement", "pixels to the right and down"),
    # KADID-10k, in its order: the image I01_03_05 of the database is I01 under the third kind at level 5
    Distortion("kadid_gaussian_blur", blur.kadid_gaussian_blur, (0.1, 0.5, 1, 2, 5), "sigma", "pixels", kadid=True),
    Distortion("kadid_lens_blur", blur.kadid_lens_blur, (1, 2, 4, 6, 8), "radius", "pixels", kadid=True),
    Distortion("kadid_motion_blur", blur.kadid_motion_blur, (1, 2, 4, 6, 10), "length", "pixels", kadid=True),
    Distortion("kadid_colour_diffusion", colour.kadid_colour_diffusion, (1, 3, 6, 8, 12),
               "amount", "1 blurs only", kadid=True),
    Distortion("kadid_colour_shift", colour.kadid_colour_shift, (1, 3, 6, 8, 12),
               "displacement", "pixels", kadid=True, minimum_side=2),
    Distortion("kadid_colour_quantisation", colour.kadid_colour_quantisation, (64, 48, 32, 16, 8),
               "colours", "in the image", kadid=True),
    Distortion("kadid_colour_saturation_1", colour.kadid_colour_saturation_1, (0.4, 0.2, 0.1, 0, -0.4),
               "factor", "1 is unchanged", kadid=True),
    Distortion("kadid_colour_saturation_2", colour.kadid_colour_saturation_2, (1, 2, 3, 6, 9),
               "factor", "1 is unchanged", kadid=True),
    Distortion("kadid_jpeg2000", compression.kadid_jpeg2000, (16, 32, 45, 120, 400),
               "ratio", "raw : compressed", kadid=True),
    Distortion("kadid_jpeg", compression.kadid_jpeg, (43, 36, 24, 7, 4), "quality", "1 to 100", kadid=True),
    Distortion("kadid_white_noise", noise.kadid_white_noise, (0.001, 0.002, 0.003, 0.005, 0.01),
               "variance", "of the range, squared", kadid=True),
    Distortion("kadid_white_noise_colour", noise.kadid_white_noise_colour, (0.0001, 0.0005, 0.001, 0.002, 0.003),
               "variance", "of the range, squared", kadid=True),
    Distortion("kadid_impulse_noise", noise.kadid_impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03),
               "share", "of the values", kadid=True),
    Distortion("kadid_multiplicative_noise", noise.kadid_multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05),
               "variance", "of the value, squared", kadid=True),
    Distortion("kadid_denoise", noise.kadid_denoise, (0.01, 0.03, 0.05, 0.1, 0.15),
               "variance", "of the range, squared", kadid=True),
    Distortion("kadid_brighten", tone.kadid_brighten, (0.1, 0.2, 0.4, 0.7, 1.1),
               "amount", "0 is unchanged", kadid=True),
    Distortion("kadid_darken", tone.kadid_darken, (0.05, 0.1, 0.2, 0.4, 0.8), "amount", "0 is unchanged", kadid=True),
    Distortion("kadid_mean_shift", tone.kadid_mean_shift, (0.15, 0.08, 0, -0.08, -0.15),
               "shift", "of the range", kadid=True),
    Distortion("kadid_jitter", spatial.kadid_jitter, (0.05, 0.1, 0.2, 0.5, 1), "sigma", "pixels", kadid=True),
    Distortion("kadid_non_eccentricity_patch", spatial.kadid_non_eccentricity_patch, (20, 40, 60, 80, 100),
               "patches", "16 pixels wide", kadid=True, minimum_side=48),
    Distortion("kadid_pixelate", spatial.kadid_pixelate, (0.01, 0.05, 0.1, 0.2, 0.5),
               "strength", "0 reduces to 0.95", kadid=True),
    Distortion("kadid_quantisation", tone.kadid_quantisation, (20, 16, 13, 10, 7),
               "thresholds", "between values", kadid=True),
    Distortion("kadid_colour_block", spatial.kadid_colour_block, (2, 4, 6, 8, 10),
               "blocks", "32 pixels wide", kadid=True, minimum_side=32),
    Distortion("kadid_high_sharpen", blur.kadid_high_sharpen, (1, 2, 3, 6, 12), "amount", "0 is unchanged", kadid=True),
    Distortion("kadid_contrast_change", tone.kadid_contrast_change, (0.3, 0.15, 0, -0.4, -0.6),
               "amount", "-0.2 is unchanged", kadid=True),
    # shifts, warps and changes that people hardly mind
    Distortion("translation", warps.translation, (1, 2, 4, 8, 16), "displacement", "pixels to the right and down"),
    Distortion("subpixel_shift", warps.subpixel_shift, (0.1, 0.2, 0.3, 0.4, 0.5), "displacement",
               "pixels to the right and down"),
    Distortion("rotation", warps.rotation, (0.3, 0.7, 1.5, 3, 6), "angle", "degrees counterclockwise"),
    Distortion("zoom", warps.zoom, (1.01, 1.02, 1.04, 1.08, 1.16), "factor", "1 is unchanged"),
    Distortion("elastic_warp", warps.elastic_warp, (0.5, 1, 2, 4, 8), "displacement", "pixels, root mean square"),
    Distortion("perspective", warps.perspective, (0.01, 0.02, 0.04, 0.08, 0.16), "tilt", "change of size at the top"),
    Distortion("texture_resampling", spatial.texture_resampling, (2, 4, 8, 16, 32), "displacement", "pixels"),
    Distortion("luminance_preserving_contrast", tone.luminance_preserving_contrast, (1.15, 1.3, 1.5, 1.75, 2.1),
               "factor", "1 is unchanged"),
)}
