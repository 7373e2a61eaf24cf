"""WNISM: the wavelet-domain natural image statistic model, reduced-reference quality from 162 bits of the reference.

Paper: Z. Wang, E. P. Simoncelli, "Reduced-reference image quality assessment using a wavelet-domain natural image
    statistic model", Human Vision and Electronic Imaging X, Proc. SPIE 5666, 2005.
Reference: the authors' MATLAB release as far as public copies of it were found: feature_calculation.m, ggd_fit.m,
    ggd_hist.m, feature_(de)quantization.m; kld.m and quality_analysis.m (D0) in one copy each of unclear origin, ggd.m
    not at all (its density is the paper's). No score made by it was found: there are no reference values. Each stage is
    tested against a slow version of itself, and the transmission against the published bit budget.
Deviations: (1) The release fits with fminsearch from s = 2, p = 0.6, to four digits; here Fisher scoring descends from
    the moments to a minimum of the same function. Where many bins are empty (every twentieth subband of small
    photographs) that function is 0 along a curve, and the two stop at different points of it. (2) The pyramid's
    cosines are computed, not read off tables. (3) A scale that rounds up to a power of ten is written as that power,
    where the release's 8 bits overflow, and the fit keeps above the least scale that the exponent can write. (4) A flat
    subband is fitted by a density inside the middle bin; the samples of the release vanish there, and it takes equal
    bins. Identical photographs score 0.2 to 2, up to 4 with large flat areas, since the receiver knows the reference in
    rounded numbers only. Histograms change in steps, with a derivative of 0 almost everywhere: the score carries no
    gradient. Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 09
"""

from __future__ import annotations

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.fourier_pyramid import oriented_bands
from iqa_lab.ops.statistics import shape_from_ratio

L = 255  # pixels are 0..255; scales and bins below are in these units
ORIENTATIONS = ((0, 2), (1, 3), (0, 2))  # bands 1, 3, 6, 8, 9, 11: two of four at each of three levels, fine to coarse
N_BANDS = 6
GUARD = (16, 8, 4)  # coefficients left out at each border, where the circular pyramid mixes opposite sides
BIN_WIDTHS = (2.0, 8.0, 32.0)
N_BINS = 101  # around 0; the two at the ends are open
SAMPLES = 30  # of the density in each bin (ggd_hist.m)
MINIMUM_SIDE = 33  # so that a coefficient is left inside the guard
D0 = 0.001  # quality_analysis.m: sets the unit of D, not the order of scores

FIELD_BITS = (8, 3, 8, 8)  # feature_quantization.m: mantissa and exponent of the scale, shape, error
STEP_S, STEP_P, STEP_D = 9 / 2**8, 0.00625, 0.00025
MIN_P, MIN_EXPONENTS = 0.05, (-6, -6, -5, -5, -4, -4)
REFERENCE_BITS = N_BANDS * sum(FIELD_BITS)

ITERATIONS = 40  # of the fit: 20 leave d within 2e-4, 40 within 1e-5 of its minimum on photographs; its unit is STEP_D
LARGEST_STEP = 0.5  # of a logarithm
LOG_SCALE_RANGE, LOG_SHAPE_RANGE = (-12.6, 9.0), (-3.0, 1.5)  # the least scale, in bins, that all exponents can write
TINY = 1e-300  # the least probability of a model's bin


def subband_histograms(image: torch.Tensor, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns how the coefficients of the six subbands are distributed, float64 (N, 6, 101), each summing to 1.

    Args:
        image, luma: as :func:`wnism_features`.
    """
    check_images(image, minimum_side=MINIMUM_SIDE)
    return torch.cat([_histograms(L * luma(part.detach().double())) for part, in few_at_a_time(image)])


def ggd_histogram(scale: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """Returns the generalised Gaussian density exp(-(|x| / s)^p) in the 101 bins, shape (..., 101), summing to 1.

    Args:
        scale, shape: s in bins and p, float64 (...).
    """
    return _binned_density(scale.log(), shape.log())[0]


def divergence(model: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Returns the Kullback-Leibler distance d(p_m || p) of kld.m over the bins that are not empty, in nats.

    Leaving bins out can make the sum negative, so the release takes its absolute value.

    Args:
        model, observed: histograms (..., 101).
    """
    return _signed_divergence(model, observed)[0].abs()


def fit_ggd_histogram(observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scale (in bins) and shape of the generalised Gaussian of the smallest :func:`divergence`.

    Args:
        observed: histograms (..., 101), float64.
    """
    theta = _moment_estimate(observed)
    value, step = _divergence_and_step(theta, observed)
    rate = torch.ones_like(value)
    for _ in range(ITERATIONS):
        trial = theta - rate[..., None] * step
        trial = torch.stack((trial[..., 0].clamp(*LOG_SCALE_RANGE), trial[..., 1].clamp(*LOG_SHAPE_RANGE)), -1)
        trial_value, trial_step = _divergence_and_step(trial, observed)
        better = trial_value < value
        theta, step = (torch.where(better[..., None], new, old) for new, old in ((trial, theta), (trial_step, step)))
        value, rate = torch.where(better, trial_value, value), torch.where(better, 1, rate / 4)
    return theta.exp().unbind(-1)


def wnism_features(image: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns the 18 numbers that the sender transmits of a reference, as the receiver will read them.

    Args:
        image: shape (N, C, H, W), values in [0, 1], sides of 33 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        float64 (N, 6, 3): for each subband, fine to coarse, scale s, shape p and error d(p_m || p) of its model.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    observed = subband_histograms(image, luma)
    scale, shape = fit_ggd_histogram(observed)
    error = divergence(ggd_histogram(scale, shape), observed)
    return from_bits(to_bits(torch.stack((scale * _widths(observed), shape, error), -1)))


def to_bits(features: torch.Tensor) -> torch.Tensor:
    """Returns the features as the release transmits them: uint8 (N, 162), each 0 or 1.

    A field of all six subbands follows the other; numbers begin with their high bit.

    Args:
        features: shape (N, 6, 3), rounded or not.
    """
    lowest = features.new_tensor(MIN_EXPONENTS)
    scale, shape, error = features.unbind(-1)
    scale = torch.minimum(scale, (1 + STEP_S * 255) * 10 ** (lowest + 7)).maximum(10**lowest)
    exponent = scale.log10().floor()
    mantissa = ((scale / 10**exponent - 1) / STEP_S + 0.5).floor()
    carry = mantissa > 255
    shape, error = ((shape - MIN_P) / STEP_P + 0.5).floor(), (error / STEP_D + 0.5).floor()
    fields = mantissa * ~carry, exponent + carry - lowest, shape, error
    return torch.cat([_binary(field, bits) for field, bits in zip(fields, FIELD_BITS, strict=True)], 1)


def from_bits(bits: torch.Tensor) -> torch.Tensor:
    """Returns the features (N, 6, 3), float64, of the bits (N, 162) that :func:`to_bits` makes."""
    parts = bits.double().split([N_BANDS * n for n in FIELD_BITS], 1)
    mantissa, exponent, shape, error = (
        part.unflatten(1, (N_BANDS, n)) @ (2.0 ** torch.arange(n - 1, -1, -1, dtype=part.dtype, device=part.device))
        for part, n in zip(parts, FIELD_BITS, strict=True))
    scale = (1 + STEP_S * mantissa) * 10 ** (exponent + exponent.new_tensor(MIN_EXPONENTS))
    return torch.stack((scale, MIN_P + STEP_P * shape, STEP_D * error), -1)


def wnism_distance(distorted: torch.Tensor, features: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns what the receiver computes: D = log2(1 + sum_k |d(p_m || q) - d(p_m || p)| / D0) over the subbands k.

    Args:
        distorted: shape (N, C, H, W), values in [0, 1], sides of 33 pixels or more; q are its histograms.
        features: of the references, (N, 6, 3).
        luma: as :func:`wnism_features`.

    Returns and errors: as :func:`wnism`.
    """
    observed = subband_histograms(distorted, luma)
    scale, shape, error = features.unbind(-1)
    change = divergence(ggd_histogram(scale / _widths(observed), shape), observed) - error
    return torch.log2(1 + change.abs().sum(-1) / D0).to(distorted.dtype)


def wnism(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns WNISM's distortion measure D, sender and receiver in one.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 33 pixels or more.
        luma: as :func:`wnism_features`.

    Returns:
        Shape (N,), >= 0, about 1 for identical photographs; lower is better. Without a gradient.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    return wnism_distance(distorted, wnism_features(reference, luma=luma), luma=luma)


def reference_numbers(height: int, width: int) -> int:
    """Returns how many numbers of a reference WNISM needs: 18 for any size, in ``REFERENCE_BITS`` = 162 bits."""
    return 3 * N_BANDS


def _histograms(gray: torch.Tensor) -> torch.Tensor:
    histograms = []
    for bands, guard, width in zip(oriented_bands(gray, ORIENTATIONS), GUARD, BIN_WIDTHS, strict=True):
        inside = bands[..., guard:-guard, guard:-guard].flatten(2)
        bins = (inside / width + N_BINS / 2).ceil().sub(1).clamp(0, N_BINS - 1).long()  # upper edges belong, as in hist
        counts = inside.new_zeros(*bins.shape[:2], N_BINS).scatter_add_(2, bins, torch.ones_like(inside))
        histograms.append(counts / inside.shape[2])
    return torch.cat(histograms, 1)


def _widths(like: torch.Tensor) -> torch.Tensor:
    """Returns the bin width of each subband, shape (6,)."""
    return like.new_tensor([width for width, bands in zip(BIN_WIDTHS, ORIENTATIONS, strict=True) for _ in bands])


def _binned_density(log_scale: torch.Tensor, log_shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the histogram (..., 101) of the density, and its derivatives (..., 2, 101) by both arguments."""
    places = torch.arange(N_BINS * SAMPLES, dtype=log_scale.dtype, device=log_scale.device) + 0.5
    log_x = (places / SAMPLES - N_BINS / 2).abs().log()
    shape = log_shape.exp()[..., None]
    log_u = shape * (log_x - log_scale[..., None])  # u = (|x| / s)^p
    u = log_u.exp()
    density = (u.amin(-1, keepdim=True) - u).exp()
    weighted = torch.stack((density, density * u * shape, -density * u * log_u), -2)
    sums = weighted.unflatten(-1, (N_BINS, SAMPLES)).sum(-1)
    sums = sums / sums[..., :1, :].sum(-1, keepdim=True)
    histogram, slopes = sums[..., 0, :], sums[..., 1:, :]
    return histogram, slopes - histogram[..., None, :] * slopes.sum(-1, keepdim=True)


def _signed_divergence(model: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns sum q log(q / p) / sum q over the bins with p > 0, log(q / p) there and 0 elsewhere, and sum q."""
    occupied = observed > 0
    q = model.clamp_min(TINY)
    log_ratio = torch.where(occupied, q / torch.where(occupied, observed, 1), 1).log()
    mass = (q * occupied).sum(-1)
    return (q * log_ratio).sum(-1) / mass, log_ratio, mass


def _divergence_and_step(theta: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the divergence and the step of Fisher scoring that reduces it; theta holds the logarithms of s and p."""
    model, slopes = _binned_density(*theta.unbind(-1))
    value, log_ratio, mass = _signed_divergence(model, observed)
    slopes = slopes * (observed > 0)[..., None, :]
    gradient = ((log_ratio + 1 - value[..., None])[..., None, :] * slopes).sum(-1) / mass[..., None]
    information = (slopes / model.clamp_min(TINY)[..., None, :]) @ slopes.mT / mass[..., None, None]
    ridge = 1e-12 * torch.eye(2, dtype=theta.dtype, device=theta.device)
    step = torch.linalg.solve(information + ridge, gradient[..., None])[..., 0]
    length = step.abs().amax(-1, keepdim=True).clamp_min(LARGEST_STEP)
    return value.abs(), value.sign()[..., None] * step * (LARGEST_STEP / length)


def _moment_estimate(observed: torch.Tensor) -> torch.Tensor:
    """Returns the logarithms of s and p, (..., 2), that have the histogram's mean magnitude and variance."""
    centres = torch.arange(N_BINS, dtype=observed.dtype, device=observed.device) - N_BINS // 2
    magnitude, variance = (observed @ centres.abs()), (observed @ centres.square()).clamp_min(1e-3)
    shape = shape_from_ratio(magnitude.square() / variance).clamp(0.3, 2)
    log_scale = (variance.log() + torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2
    return torch.stack((log_scale, shape.log()), -1)


def _binary(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Returns numbers (N, 6), forced into 0..2^bits - 1, as binary digits (N, 6 * bits), the high one first."""
    places = torch.arange(bits - 1, -1, -1, device=numbers.device)
    return ((numbers.clamp(0, 2**bits - 1).long()[..., None] >> places) & 1).to(torch.uint8).flatten(1)
