"""IW-SSIM and IW-PSNR: structural similarity, or error, weighted by the information content of each place.

Paper: Z. Wang, Q. Li, "Information content weighting for perceptual image quality assessment", IEEE Transactions on
    Image Processing 20(5), 2011, doi:10.1109/TIP.2010.2092435.
Reference: the authors' iwssim.m with its defaults.
Deviations: a negative mean at some scale counts as 0, where the authors' code returns a complex number. The covariance
    of the reference gets a ridge of 1e-10 of its trace, since that of a flat image or a pure pattern has no inverse.
    Where nothing carries information all weights are equal, so two equal flat images score 1. IW-PSNR of identical
    images is infinite, not 1000. Colour is converted as in :mod:`iqa_lab.full_reference.ssim`.
Chapter: 06
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch

from iqa_lab.full_reference.ms_ssim import MINIMUM_SIDE, SCALE_WEIGHTS_WANG2003, SMALLEST
from iqa_lab.full_reference.ssim import WINDOW, luminance_and_contrast_structure
from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import Luma, rgb_to_luma_matlab
from iqa_lab.ops.filters import box_kernel, filter_separable
from iqa_lab.ops.laplacian_pyramid import laplacian_pyramid

L = 255  # the range of pixels, in which the noise is given
SCALE_WEIGHTS = tuple(weight / sum(SCALE_WEIGHTS_WANG2003) for weight in SCALE_WEIGHTS_WANG2003)  # they sum to 1
SIGMA_N2 = 0.4  # variance of the noise in seeing either image, from VIF (Sheikh and Bovik, 2006)
BLOCK = 3  # side of the neighbourhood of a coefficient
MARGIN = (WINDOW - BLOCK) // 2  # by which maps of information are wider than maps of quality on each side
#: A window with less variance is flat. In float64 the authors' value; float32 rounding leaves up to 1e-9 in a flat one.
TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-15}
RIDGE, SMALLEST_RIDGE = 1e-10, 1e-20
TINY = 1e-12  # weight of a place without information
STRIP_PIXELS = 2**17  # rows are taken in strips of about this many pixels, so that all maps of a strip stay in cache

#: Makes a map (N, H - 10, W - 10) of two bands (N, 1, H, W), distorted and reference; True for the lowpass band.
QualityMap = Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]


def gain_and_error(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns gain g and error variance of the distortion model y = g x + v in 3 x 3 windows.

    Args:
        x, y: bands of reference and distorted images, shape (N, 1, H, W).

    Returns:
        Two tensors of shape (N, H - 2, W - 2).
    """
    moments = filter_separable(torch.cat((x, y, x * x, y * y, x * y), dim=1), box_kernel(BLOCK, x.dtype, x.device))
    mu_x, mu_y, xx, yy, xy = moments.unbind(1)
    sigma_x2, sigma_y2, sigma_xy = xx - mu_x * mu_x, yy - mu_y * mu_y, xy - mu_x * mu_y
    x_is_flat, y_is_flat = sigma_x2 < TOLERANCE[x.dtype], sigma_y2 < TOLERANCE[x.dtype]
    g = torch.where(x_is_flat | y_is_flat, 0, sigma_xy / torch.where(x_is_flat, 1, sigma_x2))
    return g, torch.where(y_is_flat, 0, (sigma_y2 - g * sigma_xy).clamp_min(0))


def with_parent(bands: list[torch.Tensor], scale: int) -> torch.Tensor:
    """Returns a band of the reference with, as second channel, the next coarser one at the same size.

    The coarsest bandpass image has no parent: what comes after it is the lowpass image.
    """
    band = bands[scale]
    if scale == len(bands) - 2:
        return band
    parent = bands[scale + 1]
    for dim in (2, 3):
        below, above, weight = parent_positions(parent.shape[dim], band.shape[dim], band.dtype, band.device)
        weight = weight[:, None] if dim == 2 else weight
        parent = torch.lerp(parent.index_select(dim, below), parent.index_select(dim, above), weight)
    return torch.cat((band, parent), dim=1)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def parent_positions(length: int, size: int, dtype: torch.dtype,
                     device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns between which two of ``length`` parents each of ``size`` coefficients lies, and the weight of the second.

    The authors enlarge M samples to 4 M - 3 with imresize, add one at either end, and keep every second one.
    """
    position = (2 * torch.arange(size, dtype=torch.float64) - 0.5) * length / (4 * length - 3) - 0.5
    position = position.clamp(0, length - 1)
    below = position.floor().long()
    weight = (position - below).to(device=device, dtype=dtype)
    return below.to(device), (below + 1).clamp_max(length - 1).to(device), weight


def neighbourhoods(x: torch.Tensor) -> torch.Tensor:
    """Returns each coefficient's 3 x 3 block, and its parent where there is one, as (N, 9 or 10, H - 2, W - 2)."""
    height, width = x.shape[2] - BLOCK + 1, x.shape[3] - BLOCK + 1
    block = [x[:, :1, i:i + height, j:j + width] for i in range(BLOCK) for j in range(BLOCK)]
    return torch.cat((*block, x[:, 1:, 1:-1, 1:-1]), dim=1)


def source_model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the Gaussian behind the neighbourhoods u of a band: W with C^-1 = W^T W, and the eigenvalues of C.

    C = mean(u u^T) is taken in float64: its small eigenvalues decide.

    Args:
        x: what :func:`with_parent` returns.

    Returns:
        Tensors of shape (N, K, K) and (N, K), K = 9 or 10.
    """
    total = 0
    for strip in strips(x, BLOCK - 1):
        u = neighbourhoods(strip).flatten(2).double()
        total = total + u @ u.mT
    covariance = total / ((x.shape[2] - BLOCK + 1) * (x.shape[3] - BLOCK + 1))
    ridge = RIDGE * covariance.diagonal(dim1=1, dim2=2).sum(dim=1) + SMALLEST_RIDGE
    covariance = covariance + torch.diag_embed(ridge[:, None].expand(covariance.shape[:2]))
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
    return whitening.to(x.dtype), torch.linalg.eigvalsh(covariance).to(x.dtype)


def information_content(x: torch.Tensor, y: torch.Tensor, model: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Returns the information that both images together carry at each place, I(R; E) + I(D; F) - I(E; F).

    R = s U is the Gaussian scale mixture of the reference and D = g R + v the distorted image; E and F are what is seen
    of them under noise. The result is sum_k log2(1 + ((v + (1 + g^2) n) s^2 lambda_k + n v) / n^2), n = sigma_n^2. That
    is twice the information in bits: a weight needs no factor 1/2.

    Args:
        x: what :func:`with_parent` returns.
        y: the same band of the distorted image, shape (N, 1, H, W).
        model: what :func:`source_model` returns.

    Returns:
        Shape (N, H - 2, W - 2).
    """
    whitening, eigenvalues = model
    g, v = gain_and_error(x[:, :1], y)
    s2 = (whitening @ neighbourhoods(x).flatten(2)).square().mean(dim=1).view_as(g)
    slope = (v + (1 + g * g) * SIGMA_N2) * s2 / SIGMA_N2**2
    level = 1 + v / SIGMA_N2
    return sum(torch.log2(torch.addcmul(level, slope, k[:, None, None])) for k in eigenvalues.unbind(1))


def strips(x: torch.Tensor, overlap: int) -> tuple[torch.Tensor, ...]:
    """Returns row strips of a band (N, C, H, W) that together hold every window of ``overlap`` + 1 rows once."""
    rows = max(1, STRIP_PIXELS // (x.shape[0] * x.shape[3]))
    return tuple(x[:, :, top:top + rows + overlap] for top in range(0, x.shape[2] - overlap, rows))


def contrast_structure(y: torch.Tensor, x: torch.Tensor, is_lowpass: bool) -> torch.Tensor:
    """Returns the contrast-structure factor of SSIM; SSIM itself for the lowpass band. See ``QualityMap``."""
    if not is_lowpass:
        return luminance_and_contrast_structure(y / L, x / L)[1]
    # The lowpass image is small, and 16 times as bright: its squares leave no digits for C2 in float32.
    luminance, cs = luminance_and_contrast_structure(y.double() / L, x.double() / L)
    return (luminance * cs).to(x.dtype)


def squared_error(y: torch.Tensor, x: torch.Tensor, is_lowpass: bool) -> torch.Tensor:
    """Returns the squared difference of the bands, cut like a map of SSIM. See ``QualityMap``."""
    return (y - x)[:, 0, WINDOW // 2:-(WINDOW // 2), WINDOW // 2:-(WINDOW // 2)].square()


def pool(distorted: torch.Tensor, reference: torch.Tensor, quality: QualityMap) -> torch.Tensor:
    """Returns the weighted means of the quality maps of the five scales; the lowpass band has equal weights.

    Args:
        distorted, reference: gray images (N, 1, H, W) on 0..255.
        quality: one of the two functions above.

    Returns:
        Shape (N, 5).
    """
    y_bands, x_bands = (laplacian_pyramid(image, len(SCALE_WEIGHTS)) for image in (distorted, reference))
    means = []
    for scale, y in enumerate(y_bands[:-1]):
        x = with_parent(x_bands, scale)
        model, total, weight = source_model(x), 0, 0
        for x_strip, y_strip in zip(strips(x, WINDOW - 1), strips(y, WINDOW - 1), strict=True):
            information = information_content(x_strip, y_strip, model)[:, MARGIN:-MARGIN, MARGIN:-MARGIN] + TINY
            total = total + (information * quality(y_strip, x_strip[:, :1], False)).sum(dim=(1, 2))
            weight = weight + information.sum(dim=(1, 2))
        means.append(total / weight)
    means.append(quality(y_bands[-1], x_bands[-1], True).mean(dim=(1, 2)))
    return torch.stack(means, dim=-1)


def pool_few(distorted: torch.Tensor, reference: torch.Tensor, quality: QualityMap, luma: Luma) -> torch.Tensor:
    """Returns :func:`pool` of images in [0, 1], a few of a large batch at a time."""
    pairs = few_at_a_time(distorted, reference)
    return torch.cat([pool(L * luma(y), L * luma(x), quality) for y, x in pairs])


def information_content_weights(distorted: torch.Tensor, reference: torch.Tensor, *,
                                luma: Luma = rgb_to_luma_matlab) -> list[torch.Tensor]:
    """Returns the weight maps of the four bandpass scales, before they are cut to the size of the SSIM maps.

    Args and errors: as :func:`iw_ssim`.

    Returns:
        Four tensors of shape (N, 1, H / 2^j - 2, W / 2^j - 2), sides rounded up before the subtraction.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    y_bands, x_bands = (laplacian_pyramid(L * luma(image), len(SCALE_WEIGHTS)) for image in (distorted, reference))
    sources = [with_parent(x_bands, scale) for scale in range(len(x_bands) - 1)]
    return [information_content(x, y, source_model(x))[:, None] for x, y in zip(sources, y_bands[:-1], strict=True)]


def iw_ssim(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns IW-SSIM, the product over scales of information-weighted means of contrast-structure (SSIM at the last).

    Not symmetric: the reference alone supplies the statistics of the source.

    Args:
        distorted, reference: shape (N, C, H, W), values in [0, 1], sides of 176 pixels or more.
        luma: gray conversion, as in :func:`iqa_lab.full_reference.ssim.ssim`.

    Returns:
        Shape (N,), range [0, 1], 1 for identical images; higher is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    means = pool_few(distorted, reference, contrast_structure, luma)
    return (means.clamp_min(SMALLEST) ** means.new_tensor(SCALE_WEIGHTS)).prod(dim=-1)


def iw_psnr(distorted: torch.Tensor, reference: torch.Tensor, *, luma: Luma = rgb_to_luma_matlab) -> torch.Tensor:
    """Returns IW-PSNR = 10 log10(255^2 / IW-MSE) in decibels, with IW-MSE the product over scales of weighted errors.

    A product is as small as its smallest factor: a mere shift of brightness, which no bandpass image shows, scores
    above 100, and how far above depends on rounding.

    Args and errors: as :func:`iw_ssim`.

    Returns:
        Shape (N,), infinite where a scale has no error, with gradient 0; higher is better.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    errors = pool_few(distorted, reference, squared_error, luma)
    identical = (errors == 0).any(dim=-1)
    logarithms = torch.where(identical[:, None], 1, errors).log10() @ errors.new_tensor(SCALE_WEIGHTS)
    return torch.where(identical, torch.inf, 20 * math.log10(L) - 10 * logarithms)
