"""MAD: most apparent distortion, a detection index for good images and an appearance index for bad ones, blended.

Paper: E. C. Larson, D. M. Chandler, "Most apparent distortion: full-reference image quality assessment and the role of
    strategy", Journal of Electronic Imaging 19(1), 2010, doi:10.1117/1.3267105.
Reference: the authors' MAD_index.m (2011) with their ical_std.c and ical_stat.c. No value printed by MATLAB is known to
    us: the reference values are from a transcription to NumPy with their C compiled, and PyTorch ports differ widely.
Deviations: (1) where paper and code differ this is the code: the contrast of the reference is the smallest standard
    deviation of four 8 x 8 blocks at offsets 0 and 4 (the paper: of the quarters of the 16 x 16 block). Their table for
    8-bit images takes 255 for 254; this is their formula. (2) Skewness and kurtosis are 0 where the standard deviation
    is below 1e-9, not at exactly 0 alone; a flat image has no log-Gabor responses, where the code looks at rounding
    errors. (3) The score is 0 if one of the two indices is below 1e-9.
Chapter: 07
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch

from iqa_lab.images import check_images, few_at_a_time
from iqa_lab.ops.color import rgb_to_luma_matlab
from iqa_lab.ops.contrast_sensitivity import csf_mannos_sakrison1974
from iqa_lab.ops.elementwise import safe_power, safe_sqrt
from iqa_lab.ops.filters import box_kernel, filter_separable
from iqa_lab.ops.fourier import FLAT, LogGabor, even_part, log_gabor_factors

K, GAMMA = 0.02874, 2.2  # lightness K v^(gamma / 3) of pixel value v
NYQUIST = 32.0  # cycles per degree
CSF_CORNER, CSF_MAXIMUM = 7.8909, 0.9809  # contrast sensitivity stays at its maximum below this frequency
DARK = 0.5  # no distortion is visible in blocks of less mean lightness
THRESHOLD = -5.0  # ln contrast above which the reference masks, and below which an error is invisible
HIGH_SCALE = 200.0
BLOCK, STRIDE = 16, 4
BANK = LogGabor(wavelengths=(3, 9, 27, 81, 243), sigma_on_f=0.55, orientations=4, d_theta_on_sigma=1.5)
SCALE_WEIGHTS = tuple(weight / 13.25 for weight in (0.5, 0.75, 1.0, 5.0, 6.0))
ZERO = 1e-9  # an index below is 0 up to rounding
BETA_1, BETA_2 = math.exp(-2.55 / 3.35), 1 / (math.log(10) * 3.35)
DEAD_ZONE = 1e-9  # a smaller standard deviation of amplitudes is rounding error
MINIMUM_SIDE = 34  # one pixel is left when 16 are cut off before and 17 behind


class Moments(NamedTuple):
    """Mean and central moments (divisor n) of the pixels of each block, tensors of equal shape."""

    mean: torch.Tensor
    second: torch.Tensor
    third: torch.Tensor
    fourth: torch.Tensor


def block_moments(x: torch.Tensor, block: int = BLOCK) -> Moments:
    """Returns the moments of the blocks at every fourth row and column, as many as there are blocks of 16.

    4 x 4 cells come first, then each block is put together from its cells: no sum of fourth powers loses its digits.

    Args:
        x: shape (N, C, H, W).
        block: side of the blocks, 4, 8, 12 or 16.

    Returns:
        Tensors of shape (N, C, (H - 16) // 4 + 1, (W - 16) // 4 + 1).
    """
    rows, columns = (side // STRIDE for side in x.shape[2:])
    cells = x[:, :, :STRIDE * rows, :STRIDE * columns].unflatten(3, (columns, STRIDE)).unflatten(2, (rows, STRIDE))
    pixels = cells.permute(3, 5, 0, 1, 2, 4).flatten(0, 1)  # 16, N, C, rows, columns
    mean = pixels.mean(0)
    d = pixels - mean
    d2 = d * d
    moments = Moments(mean, d2.mean(0), (d2 * d).mean(0), (d2 * d2).mean(0))
    for dim, length in ((2, rows), (3, columns)):
        starts = range(block // STRIDE)
        moments = _merge([[m.narrow(dim, k, length - BLOCK // STRIDE + 1) for m in moments] for k in starts])
    return moments


def _merge(parts: list[list[torch.Tensor]]) -> Moments:
    """Returns the moments of the union of parts of equal size, each given by its four moments."""
    mean = sum(part[0] for part in parts) / len(parts)
    second = third = fourth = 0
    for part_mean, m2, m3, m4 in parts:
        d = part_mean - mean
        d2 = d * d
        second = second + m2 + d2
        third = third + m3 + d * (3 * m2 + d2)
        fourth = fourth + m4 + d * (4 * m3 + d * (6 * m2 + d2))
    return Moments(mean, *(total / len(parts) for total in (second, third, fourth)))


def standard_deviation(variance: torch.Tensor, n: int) -> torch.Tensor:
    """Returns the standard deviation with divisor n - 1 from the variance with divisor n."""
    return safe_sqrt(variance * (n / (n - 1)))


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def contrast_sensitivity(height: int, width: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns the contrast sensitivity for ``rfft2``, shape (H, W // 2 + 1), float64.

    That of Mannos and Sakrison, with frequencies stretched along the diagonals. The code divides both axes by the width,
    samples an even axis half a step off its frequencies, and takes the real part of the response: the even part below.
    """
    rows, columns = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (height, width))
    rows, columns = (2 * NYQUIST / width * axis for axis in (rows, columns))
    angle = torch.atan2(rows[:, None], columns)
    f = torch.hypot(rows[:, None], columns) / (0.15 * (4 * angle).cos() + 0.85)
    sensitivity = torch.where(f < CSF_CORNER, CSF_MAXIMUM, csf_mannos_sakrison1974(f))
    return even_part(torch.fft.ifftshift(sensitivity))[:, :width // 2 + 1].to(device)


def visibility(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns how far the ln contrast of the error in each block exceeds what the reference y masks, at least 0.

    Args:
        x, y: gray images (N, 1, H, W) on 0..255, float64.

    Returns:
        Shape (N, 1, (H - 16) // 4 + 1, (W - 16) // 4 + 1).
    """
    height, width = x.shape[2:]
    csf = contrast_sensitivity(height, width, x.device)
    x, y = (torch.fft.irfft2(torch.fft.rfft2(K * safe_power(v, GAMMA / 3)) * csf, s=(height, width)) for v in (x, y))
    error = standard_deviation(block_moments(x - y).second, BLOCK**2)
    mean = block_moments(y).mean
    contrast = standard_deviation(block_moments(y, BLOCK // 2).second, (BLOCK // 2) ** 2)
    contrast = _least_with_next(_least_with_next(contrast, 2, height), 3, width)
    # ln(error / mean) - max(ln(contrast / mean), THRESHOLD), where the means cancel
    visible = torch.maximum(contrast, math.exp(THRESHOLD) * mean)
    bright = mean >= DARK
    return (torch.where(bright, error / torch.where(bright, visible, 1), 1)).clamp_min(1).log()


def _least_with_next(x: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    """Returns the smaller of each block and its successor; the C code does not look at a last block that ends flush."""
    usable = (length - BLOCK - 1) // STRIDE + 1
    first, second = x.narrow(dim, 0, usable - 1), x.narrow(dim, 1, usable - 1)
    return torch.cat((torch.minimum(first, second), x.narrow(dim, usable - 1, x.shape[dim] - usable + 1)), dim)


def high_quality_map(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns visibility times local mean squared error, shape (N, 1, H - 33, W - 33): borders of 16 and 17 are cut.

    Args: as :func:`visibility`.
    """
    local_mse = filter_separable((x - y) ** 2, box_kernel(BLOCK, x.dtype, x.device), "symmetric")
    return _to_pixels(visibility(x, y), x.shape[2:]) * local_mse[:, :, BLOCK:-BLOCK - 1, BLOCK:-BLOCK - 1]


@functools.lru_cache(maxsize=2)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def log_gabor_filters(height: int, width: int, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the radial (S, H, W) and the angular (O, H, W) factors of MAD's filters, complex128.

    The code samples an odd axis half a step off the frequencies of the FFT.
    """
    rows, columns = (torch.fft.fftshift(torch.arange(n, dtype=torch.float64) - n / 2) / n for n in (height, width))
    radial, angular = log_gabor_factors(BANK, rows, columns)
    radial[:, 0, 0] = 0
    return radial.to(device, torch.complex128), angular.to(device, torch.complex128)


def appearance(x: torch.Tensor) -> torch.Tensor:
    """Returns standard deviation, skewness and kurtosis of the log-Gabor amplitudes of each block.

    Args:
        x: gray images (N, 1, H, W) on 0..255, float64.

    Returns:
        Shape (N, 3, O, S, (H - 16) // 4 + 1, (W - 16) // 4 + 1).
    """
    radial, angular = log_gabor_filters(*x.shape[2:], x.device)
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    spectrum = torch.fft.fft2((x - low) * (high - low > FLAT))  # the filters are blind to the mean
    statistics = []
    for orientation in angular:
        amplitude = torch.fft.ifft2(spectrum * orientation * radial).abs()  # N, S, H, W
        _, second, third, fourth = block_moments(amplitude)
        varied = second > DEAD_ZONE**2
        variance = torch.where(varied, second, 1)
        statistics.append(torch.stack((standard_deviation(second, BLOCK**2), varied * third / variance**1.5,
                                       varied * fourth / variance**2), dim=1))
    return torch.stack(statistics, dim=2)


def low_quality_map(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns the weighted change of appearance, |d std| + 2 |d skewness| + |d kurtosis|, (N, 1, H - 33, W - 33).

    Args: as :func:`visibility`.
    """
    change = (appearance(x) - appearance(y)).abs().sum(2)  # N, 3, S, blocks
    blocks = torch.einsum("nkshw,k,s->nhw", change, change.new_tensor((1, 2, 1)), change.new_tensor(SCALE_WEIGHTS))
    return _to_pixels(blocks[:, None], x.shape[2:])


def _to_pixels(blocks: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Returns the map that gives each block's value to its first 4 x 4 pixels, with the borders cut off."""
    pixels = blocks.repeat_interleave(STRIDE, 2).repeat_interleave(STRIDE, 3)
    return pixels[:, :, BLOCK:size[0] - BLOCK - 1, BLOCK:size[1] - BLOCK - 1]


def root_mean_square(x: torch.Tensor) -> torch.Tensor:
    """Returns the root mean square of each map (N, 1, H, W), shape (N,)."""
    return safe_sqrt(x.square().mean((1, 2, 3)))


def blend(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Returns low^(1 - alpha) high^alpha with alpha = 1 / (1 + beta_1 high^beta_2), and 0 where either is.

    Args:
        high, low: high-quality (detection) and low-quality (appearance) index, >= 0.
    """
    alpha = 1 / (1 + BETA_1 * safe_power(high, BETA_2))
    positive = (high > ZERO) & (low > ZERO)
    high, low = (torch.where(positive, index, 1) for index in (high, low))
    return positive * low ** (1 - alpha) * high**alpha


def mad_indices(distorted: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the high-quality and the low-quality index, each (N,), float64, 0 for identical images up to rounding.

    Args and errors: as :func:`mad`.
    """
    check_images(distorted, reference, minimum_side=MINIMUM_SIDE)
    high, low = [], []
    for pair in few_at_a_time(distorted, reference):
        x, y = (255 * rgb_to_luma_matlab(image.double()) for image in pair)
        high.append(HIGH_SCALE * root_mean_square(high_quality_map(x, y)))
        low.append(root_mean_square(low_quality_map(x, y)))
    return torch.cat(high), torch.cat(low)


def mad(distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns MAD, the blend of the two indices.

    Args:
        distorted, reference: shape (N, C, H, W), RGB or gray in [0, 1], sides of 34 pixels or more.

    Returns:
        Shape (N,), 0 for identical images and for differences that nobody sees, without an upper end (distortions of
        TID2013 reach 150 and more); lower is better.

    Raises:
        TypeError, ValueError: as :func:`iqa_lab.images.check_images`.
    """
    return blend(*mad_indices(distorted, reference)).to(distorted.dtype)
