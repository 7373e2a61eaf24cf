"""The statistics under DIIVINE: divisively normalised subbands of a steerable pyramid, and what is measured on them.

Chapter: 12
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.elementwise import TINY
from iqa_lab.ops.filters import gaussian_kernel
from iqa_lab.ops.fourier_pyramid import fourier_pyramid
from iqa_lab.ops.resize import resize

N_SCALES, N_ORIENTATIONS = 2, 6  # num_scales, num_or
BLOCK = 3  # blSzX, blSzY: side of the neighbourhood
ROWS = (-1, 0, 1)
GUARD_BAND = 16  # guardband: rows and columns left out on each side of the finest scale, half as many on the next
#: A coefficient below this is rounding error of a flat image (seen: 1e-13); the bands of photos vary by 1 to 100.
DEAD_ZONE = 1e-9
#: An eigenvalue below this share of the largest is rounding error (seen: 1e-13); in photos it is 5e-8 or more.
TOLERANCE = 1e-12
N_BINS = 100  # nbins of find_spatial_hist_fast
DISTANCES = (1, 5, 9, 13, 17, 21, 25)  # 1:ss_fact:max_x, in samples of the band
DEGREE = 3  # polyfit
WINDOW, SIGMA = 11, 1.5  # of ssim_index_new
C2 = (0.03 * 255) ** 2


class Subbands(NamedTuple):
    """What :func:`normalised_subbands` returns."""

    highpass: torch.Tensor  # (N, 1, H, W)
    bands: list[torch.Tensor]  # per scale (N, 6, H / 2^scale, W / 2^scale), sides rounded up
    normalised: list[torch.Tensor]  # per scale the bands after divisive normalisation, without their guard band


def normalised_subbands(x: torch.Tensor, columns: tuple[int, ...]) -> Subbands:
    """Returns the steerable pyramid and its divisively normalised bands, each with mean 0.

    Args:
        x: gray images (N, 1, H, W) in 0..255, float64.
        columns: as :func:`divisive_normalisation`.
    """
    pyramid = fourier_pyramid(x, N_SCALES, N_ORIENTATIONS)
    highpass, *bands = (F.hardshrink(band, DEAD_ZONE) for band in (pyramid.highpass, *pyramid.bands))
    normalised = []
    for scale in range(N_SCALES):
        # The last orientation of the finest scale has no parent either: the release counts one band too few.
        parents = _double(bands[scale + 1][:, :-1], bands[scale]) if scale + 1 < N_SCALES else bands[scale][:, :0]
        normalised.append(divisive_normalisation(bands[scale], parents, GUARD_BAND >> scale, columns))
    return Subbands(highpass, bands, normalised)


def divisive_normalisation(bands: torch.Tensor, parents: torch.Tensor, guard: int,
                           columns: tuple[int, ...]) -> torch.Tensor:
    """Returns the bands over their local standard deviation under a Gaussian scale mixture, each with mean 0.

    Args:
        bands: one scale, shape (N, O, h, w).
        parents: the coarser bands of the first orientations at the same size, shape (N, fewer, h, w).
        guard: rows and columns of the result to leave out on each side.
        columns: which of the columns -1, 0 and 1 around a sample, all three rows of each, are its neighbours.

    Returns:
        Shape (N, O, h - 2 - 2 guard, w - 2 - 2 guard).
    """
    height, width = (side - BLOCK + 1 for side in bands.shape[2:])
    inner = bands[..., 1:-1, 1:-1]
    normalised = []
    for orientation in range(bands.shape[1]):
        band = bands[:, orientation]
        shifted = [band[:, 1 + row:1 + row + height, 1 + column:1 + column + width]
                   for row in ROWS for column in columns]
        parent = parents[:, orientation:orientation + 1, 1:-1, 1:-1]
        others = [inner[:, other] for other in range(bands.shape[1]) if other != orientation]
        neighbours = torch.cat((torch.stack(shifted + others, 1), parent), 1).flatten(2)  # N, neighbours, h w
        z = scale_multiplier(neighbours, BLOCK**2 + parent.shape[1]).unflatten(1, (height, width))
        centre = inner[:, orientation] - inner[:, orientation].mean((1, 2), keepdim=True)
        g = torch.where(z > 0, centre / torch.where(z > 0, z, 1), 0)[:, guard:-guard, guard:-guard]
        normalised.append(g - g.mean((1, 2), keepdim=True))
    return torch.stack(normalised, 1)


def scale_multiplier(neighbours: torch.Tensor, divisor: int) -> torch.Tensor:
    """Returns sqrt(y^T C^+ y / divisor), C = E[y y^T], at each sample, shape (N, P).

    Args:
        neighbours: y, shape (N, neighbours, P).
        divisor: in the release 9, or 10 with a parent, however many neighbours there are.
    """
    covariance = neighbours @ neighbours.mT / neighbours.shape[2]
    variances, directions = torch.linalg.eigh(covariance)
    kept = variances > TOLERANCE * variances[:, -1:]
    whitening = directions * torch.where(kept, torch.where(kept, variances, 1).rsqrt(), 0)[:, None]
    return ((whitening.mT @ neighbours).square_().sum(1) / divisor).sqrt()


def spatial_correlation(bands: torch.Tensor) -> torch.Tensor:
    """Returns the correlation of samples at each of DISTANCES, and there the fit of a cubic: its numbers and error.

    Args:
        bands: shape (N, O, h, w).

    Returns:
        Shape (N, O, 5): coefficients from the third power down, and the sum of squared errors.
    """
    levels = quantise(bands)
    rho = torch.stack([correlation_at(levels, distance) for distance in DISTANCES], -1)
    powers = torch.tensor(DISTANCES, dtype=rho.dtype, device=rho.device)[:, None] ** torch.arange(
        DEGREE, -1, -1, device=rho.device)
    coefficients = rho @ torch.linalg.pinv(powers).mT
    error = (coefficients @ powers.mT - rho).square().sum(-1, keepdim=True)
    return torch.cat((coefficients, error), -1)


def quantise(x: torch.Tensor) -> torch.Tensor:
    """Returns the number, 0 to 99, of the bin between smallest and largest value of a map; 0 where these are equal.

    Args:
        x: shape (..., h, w).
    """
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    position = (x - low) / (high - low).clamp_min(TINY) * N_BINS
    return (position.ceil() - 1).clamp(0, N_BINS - 1)  # a value between two bins belongs to the lower one


def correlation_at(x: torch.Tensor, distance: int) -> torch.Tensor:
    """Returns the correlation between samples and their eight neighbours at a distance; 0 if all are equal.

    The release collects joint histograms; their correlation needs nothing but these sums.

    Args:
        x: shape (N, O, h, w).
        distance: in rows, columns, or both.
    """
    count = eight_neighbours(torch.ones_like(x[:1, :1]), distance)
    n, total, squares = count.sum(), (x * count).sum((2, 3)), (x * x * count).sum((2, 3))
    products = (x * eight_neighbours(x, distance)).sum((2, 3))
    mean = total / n
    variance = squares / n - mean * mean
    return torch.where(variance > 0, (products / n - mean * mean) / torch.where(variance > 0, variance, 1), 0)


def eight_neighbours(x: torch.Tensor, distance: int) -> torch.Tensor:
    """Returns the sum of the eight neighbours at a distance, zeros beyond the border; same shape as ``x``."""
    padded = F.pad(x, (0, 0, distance, distance))
    rows = x + padded[..., :-2 * distance, :] + padded[..., 2 * distance:, :]
    padded = F.pad(rows, (distance, distance))
    return rows + padded[..., :-2 * distance] + padded[..., 2 * distance:] - x


def contrast_structure(maps: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Returns the mean of (2 sigma_xy + C2) / (sigma_x^2 + sigma_y^2 + C2) of pairs of maps, the second factor of SSIM.

    Args:
        maps: shape (N, K, h, w).
        first, second: int64 (pairs,), the numbers of x and y.

    Returns:
        Shape (N, pairs).
    """
    mean = _local_mean(maps)
    variance = _local_mean(maps * maps) - mean * mean
    covariance = _local_mean(maps[:, first] * maps[:, second]) - mean[:, first] * mean[:, second]
    return ((2 * covariance + C2) / (variance[:, first] + variance[:, second] + C2)).mean((2, 3))


def _local_mean(x: torch.Tensor) -> torch.Tensor:
    """Returns the mean under the Gaussian window where it fits."""
    taps, margin = tuple(gaussian_kernel(WINDOW, SIGMA, torch.float64).tolist()), WINDOW // 2
    rows = correlate_axis(x, taps, 2)[..., margin:-margin, :]
    return correlate_axis(rows, taps, 3)[..., margin:-margin]


def _double(small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
    """Returns the first maps at twice their size, cut to the rows and columns of the second."""
    return resize(small, 2.0)[..., :large.shape[2], :large.shape[3]]
