"""HDR-VDP-2.2.1: a visible differences predictor for displays and scenes of any luminance, and its quality score.

Paper: R. Mantiuk, K. J. Kim, A. G. Rempel, W. Heidrich, "HDR-VDP-2: a calibrated visual metric for visibility and
    quality predictions in all luminance conditions", ACM Transactions on Graphics 30(4), 2011,
    doi:10.1145/2010324.1964935. The pooling weights are those of M. Narwaria, R. Mantiuk, M. Perreira Da Silva,
    P. Le Callet, "HDR-VDP-2.2", Journal of Electronic Imaging 24(1), 2015, doi:10.1117/1.JEI.24.1.010501.
Reference: the authors' HDR-VDP 2.2.1 (hdrvdp.m, hdrvdp_parse_options.m).
Deviations: none in what is here: the encodings sRGB-display and luma-display, luminance, linear RGB of a CCFL, LED or
    CRT display (rgb-bt.709), a surround of given luminance or of the reference's geometric mean (light below 1e-5
    cd/m2 counting as that), masking, spatial pooling, Q, P_map, P_det, C_map, C_max. Not here: the XYZ encoding,
    spectra of one's own, switches to turn optics, masking or pooling off. Ageing of the eye and side-by-side viewing
    are not part of 2.2.1. Optics and receptors are computed in float64; the mask of differing pixels has no gradient.
    HDR-VDP-3 (2023, arXiv:2304.13625) adapts locally, knows the observer's age, masks without regard to sensitivity and
    has parameters of its own for side-by-side viewing, flicker, detection and quality. Its Q ends at 10, from bands of
    one orientation pooled in another way, so that the numbers of the two cannot be compared.
Chapter: 08
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from iqa_lab.full_reference.hdr_vdp_pathway import (
    FILTERS,
    SURROUND,
    band_frequencies,
    csf_table,
    interpolate,
    visual_pathway,
)
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.display import to_light
from iqa_lab.ops.pyramids import SteerablePyramid, reconstruct
from iqa_lab.ops.resize import resize

MASK_P, MASK_Q = 10**0.544068, 10**0.49576  # mask_p, mask_q: excitation and inhibition grow with these powers
K_SELF, K_XO, K_XN = 10**0.189065, 10**0.449199, 10**1.52512  # mask_self, mask_xo, mask_xn
BETA = 3.5  # psych_func_slope: slope of the psychometric function
QUALITY_FREQUENCIES = (60.0, 30.0, 15.0, 7.5, 3.75, 1.875, 0.9375, 0.4688, 0.2344, 0.1172)  # quality_band_freq, cpd
QUALITY_WEIGHTS = (0.0, 0.2832, 0.2832, 0.2142, 0.2690, 0.0398, 0.0003, 0.0003, 0.0, 0.0)  # quality_band_w
EPSILON = 1e-12  # hdrvdp.m, in the logarithm of Q and in the spatial pooling
DIFFERENCE = 0.001  # hdrvdp.m: pixels that differ by less, relative to the reference, do not lower the quality
ENCODING = "sRGB-display"  # for standard images in colour, says hdrvdp.m
PIXELS_PER_DEGREE = 30.0  # hdrvdp.m: a computer display of standard resolution
RGB_DISPLAY = "ccfl-lcd"  # hdrvdp.m: rgb_display
MINIMUM_SIDE = 17  # the low-pass filter of the pyramid
GRAPH_PIXELS = 2**21  # of a batch, whose gradient then needs some 4 GB


class Visibility(NamedTuple):
    """How visible the difference is, by the authors' names."""

    P_map: torch.Tensor  # probability of detection at each pixel, (N, 1, H, W)
    P_det: torch.Tensor  # its maximum, (N,)
    C_map: torch.Tensor  # contrast in multiples of the threshold, at which the probability is 0.5, (N, 1, H, W)
    C_max: torch.Tensor  # its maximum, (N,)


def signed_power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """Returns sign(x) |x|^exponent, exponent > 1; with gradient 0 at x = 0."""
    return x.abs() ** exponent * x.sign()


def mutual_masking(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns the mean of min(|T|, |R|) over 3 x 3 samples, zeros beyond the border: what masks is in both images."""
    smaller, taps = torch.minimum(distorted.abs(), reference.abs()), (1 / 3, 1 / 3, 1 / 3)
    return correlate_axis(correlate_axis(smaller, taps, 2), taps, 3)


def at_size(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Returns MATLAB's bicubic ``imresize(x, size)``."""
    return x if x.shape[2:] == size else resize(x, size=size)


def neighbouring_masking(masking: list[torch.Tensor], band: int) -> torch.Tensor | float:
    """Returns the masking activity of the next finer and coarser bands, each over its gain, at the size of this one.

    A neighbour of one orientation stands for all; the base band masks none and is masked by the first orientation.
    """
    orientations, size, last = masking[band].shape[1], masking[band].shape[2:], len(masking) - 1
    finer = [band - 1] if band > 0 else []
    coarser = [band + 1] if band + 1 < last else []
    return sum(at_size(masking[b][:, :orientations], size).clamp_min(0) / 2**b for b in finer + coarser)


def visible_difference(difference: torch.Tensor, masking: list[torch.Tensor], band: int,
                       sensitivity: torch.Tensor) -> torch.Tensor:
    """Returns the difference of one band over neural noise and masking, to a power; +-1 is at the threshold.

    With gain n = 2^band and noise N = 1 / S this is D = n sign(d) |d / n|^p / sqrt(N^(2 p) + N_mask^2), in which
    N_mask = n (k_self (M_self / (N n))^q + k_xo (M_xo / (N n))^q + k_xn (M_xn / N)^q).

    Args:
        difference: distorted less reference, shape (N, O, h, w).
        masking: :func:`mutual_masking` of all bands.
        band: number of the band, 0 for the finest.
        sensitivity: S, the neural CSF at the adapting luminance; broadcasts with ``difference``.
    """
    gain, own = 2.0**band, masking[band]
    others = (own.sum(1, keepdim=True) - own).clamp_min(0)
    neighbours = gain * neighbouring_masking(masking, band)
    masks = K_SELF * own**MASK_Q + K_XO * others**MASK_Q + K_XN * neighbours**MASK_Q
    # Numerator and denominator are multiplied by S^p, since N^(2 p) overflows where the eye is blind.
    noise = (1 + (masks * (gain ** (1 - MASK_Q) * sensitivity ** (MASK_P + MASK_Q))).square()).sqrt()
    return gain * signed_power(difference * (sensitivity / gain), MASK_P) / noise


def visible_differences(distorted: torch.Tensor, reference: torch.Tensor, pixels_per_degree: float,
                        surround: float | None, rgb_display: str) -> list[torch.Tensor]:
    """Returns :func:`visible_difference` of each band: high-pass (N, 1, H, W), levels (N, 4, h, w), base (N, 1, h, w).

    Args: as :func:`hdr_vdp_luminance`.
    """
    light = torch.cat((distorted, reference))
    if surround is None:
        around = reference.clamp_min(SURROUND).log().mean((2, 3), keepdim=True).exp().repeat(2, 1, 1, 1)
    else:
        around = torch.full_like(light[..., :1, :1], surround)
    bands, log_adaptation = visual_pathway(light, pixels_per_degree, around, rgb_display)
    pairs = [band.chunk(2) for band in bands]
    masking = [mutual_masking(t, r) for t, r in pairs]
    tables = csf_table(band_frequencies(len(bands), pixels_per_degree), light.device).to(light.dtype)
    sensitivities = [interpolate(table, at_size(log_adaptation, band.shape[2:]))
                     for table, band in zip(tables, bands[:-1])]
    sensitivities.append(light.new_ones(1))  # the base band is already filtered by the CSF
    return [visible_difference(t - r, masking, band, sensitivity)
            for band, ((t, r), sensitivity) in enumerate(zip(pairs, sensitivities, strict=True))]


def quality_weight(frequency: float) -> float:
    """Returns the weight of a band in Q, linearly interpolated over frequency in cycles per degree."""
    f = min(max(frequency, QUALITY_FREQUENCIES[-1]), QUALITY_FREQUENCIES[0])
    i = max(k for k, start in enumerate(QUALITY_FREQUENCIES[:-1]) if start >= f)
    high, low = QUALITY_FREQUENCIES[i:i + 2]
    return QUALITY_WEIGHTS[i + 1] + (f - low) / (high - low) * (QUALITY_WEIGHTS[i] - QUALITY_WEIGHTS[i + 1])


def quality(distorted: torch.Tensor, reference: torch.Tensor, pixels_per_degree: float, surround: float | None,
            rgb_display: str) -> torch.Tensor:
    """Returns Q, 100 less the weighted sum over bands of ln(1 + sqrt(sum D^2) / (pixels EPSILON)); args as above."""
    bands = visible_differences(distorted, reference, pixels_per_degree, surround, rgb_display)
    excess = ((distorted - reference).abs() - DIFFERENCE * reference).detach().amax(1, keepdim=True)
    differs = (excess > 0).to(distorted.dtype)
    loss = distorted.new_zeros(distorted.shape[0])
    for band, frequency in zip(bands, band_frequencies(len(bands), pixels_per_degree), strict=True):
        size = band.shape[2:]
        error = torch.linalg.vector_norm(band * at_size(differs, size), dim=(2, 3)) / math.prod(size)
        loss = loss + quality_weight(frequency) * torch.log1p(error / EPSILON).sum(1)
    return 100 - loss


def visibility(distorted: torch.Tensor, reference: torch.Tensor, pixels_per_degree: float, surround: float | None,
               rgb_display: str) -> Visibility:
    """Returns probability and contrast of detection; args as above."""
    bands = visible_differences(distorted, reference, pixels_per_degree, surround, rgb_display)
    highpass, *levels, base = (2.0**b * signed_power(band / 2.0**b, BETA / MASK_P) for b, band in enumerate(bands))
    contrast = reconstruct(SteerablePyramid(highpass, levels, base), FILTERS).abs()
    total, most = contrast.sum((2, 3), keepdim=True), contrast.amax((2, 3), keepdim=True)
    contrast = contrast * (total / (most + EPSILON))  # spatial pooling
    probability = -torch.expm1(-math.log(2) * contrast)
    return Visibility(probability, probability.amax((1, 2, 3)), contrast, contrast.amax((1, 2, 3)))


def in_parts(function: Callable, distorted: torch.Tensor, reference: torch.Tensor) -> list:
    """Returns what ``function`` makes of the batch, a few pairs at a time.

    The gradient needs 2 kB a pixel; beyond GRAPH_PIXELS those of one part at a time, since each is computed twice.
    """
    pairs = few_at_a_time(distorted, reference)
    if len(pairs) == 1 or distorted[:, 0].numel() <= GRAPH_PIXELS:
        return [function(*pair) for pair in pairs]
    return [checkpoint(function, *pair, use_reentrant=False, preserve_rng_state=False) for pair in pairs]


def hdr_vdp(distorted: torch.Tensor, reference: torch.Tensor, *, encoding: str = ENCODING,
            pixels_per_degree: float = PIXELS_PER_DEGREE, rgb_display: str = RGB_DISPLAY) -> torch.Tensor:
    """Returns the quality score Q of images on a display with 100 cd/m2 at white and 1 cd/m2 at black, in the dark.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 17 pixels or more.
        encoding: ``"sRGB-display"``, where each channel of RGB images excites the receptors in its own way, or
            ``"luma-display"``, where images are turned to gray; see ``iqa_lab.ops.display``.
        pixels_per_degree: of visual angle, see :func:`iqa_lab.ops.display.pixels_per_degree`.
        rgb_display: spectrum of the three channels: ``"ccfl-lcd"``, ``"led-lcd"`` or ``"crt"``.

    Returns:
        Shape (N,), 100 for identical images, higher is better. There is no lower end, but only large differences at
        some 60 pixels per degree come near 0. Scores for different pixels per degree cannot be compared: the weights
        move over the bands, and differences far below the threshold count as well. Visibility has no such trait.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`; ValueError for an unknown encoding or display.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)

    def score(*pair: torch.Tensor) -> torch.Tensor:
        return quality(*(to_light(image, encoding) for image in pair), pixels_per_degree, SURROUND, rgb_display)

    return torch.cat(in_parts(score, distorted, reference))


def hdr_vdp_visibility(distorted: torch.Tensor, reference: torch.Tensor, *, encoding: str = ENCODING,
                       pixels_per_degree: float = PIXELS_PER_DEGREE, rgb_display: str = RGB_DISPLAY) -> Visibility:
    """Returns where the difference is visible, and whether it is anywhere; args and errors as :func:`hdr_vdp`."""
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)

    def maps(*pair: torch.Tensor) -> Visibility:
        return visibility(*(to_light(image, encoding) for image in pair), pixels_per_degree, SURROUND, rgb_display)

    return Visibility(*map(torch.cat, zip(*in_parts(maps, distorted, reference), strict=True)))


def hdr_vdp_luminance(distorted: torch.Tensor, reference: torch.Tensor, *,
                      pixels_per_degree: float = PIXELS_PER_DEGREE, surround: float | None = SURROUND,
                      rgb_display: str = RGB_DISPLAY) -> torch.Tensor:
    """Returns the quality score Q of light, for scenes of high dynamic range and for displays of one's own.

    Args:
        distorted, reference: light in cd/m2: luminance (N, 1, H, W), or linear RGB (N, 3, H, W) in which (Y, Y, Y) is
            white of luminance Y. Sides of 17 pixels or more.
        pixels_per_degree, rgb_display: as :func:`hdr_vdp`; the maps come from :func:`visibility`.
        surround: light around the image in cd/m2, or None for the geometric mean of the reference's channels.

    Returns and raises: as :func:`hdr_vdp`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)

    def score(*pair: torch.Tensor) -> torch.Tensor:
        return quality(*pair, pixels_per_degree, surround, rgb_display)

    return torch.cat(in_parts(score, distorted, reference))
