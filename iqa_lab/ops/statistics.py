"""Statistics of natural scenes: local moments, MSCN coefficients, and moment fits of (asymmetric) Gaussians.

The fits read the shape off the authors' grid 0.2 : 0.001 : 10 by bisection, which gives the same entry as their search
through all 9801 values. A grid has no gradient, so the slope of the inverse table is passed back instead.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from iqa_lab.ops.correlation import correlate_axis
from iqa_lab.ops.elementwise import TINY, safe_sqrt
from iqa_lab.ops.filters import gaussian_kernel

WINDOW, SIGMA = 7, 7 / 6  # the circular-symmetric Gaussian window, "sampled out to 3 standard deviations"
C = 1.0  # keeps the quotient stable where the image is flat; pixels are 0..255
#: |x - mu| / (sigma + C) below this is rounding error of a flat neighbourhood (seen: 1e-13), never a grey value (1e-4).
DEAD_ZONE = 1e-9
SHAPE_STEP = 0.001


class AGGD(NamedTuple):
    """An asymmetric generalised Gaussian: shape alpha, root mean squares of its negative and positive samples."""

    alpha: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    n_left: torch.Tensor  # how many samples stood behind each side
    n_right: torch.Tensor


def local_moments(x: torch.Tensor, padding: str, *, window: int = WINDOW,
                  width: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns local mean mu and standard deviation sigma under the Gaussian window, both of the shape of ``x``.

    Args:
        x: gray images (N, 1, H, W) on 0..255, float64: sigma is a small difference of large numbers.
        padding: border rule, ``"zeros"`` or ``"replicate"``.
        window, width: side and standard deviation of the window, in pixels.
    """
    taps = tuple(gaussian_kernel(window, width, torch.float64).tolist())
    mu, mean_square = (correlate_axis(correlate_axis(v, taps, 2, padding), taps, 3, padding) for v in (x, x * x))
    return mu, safe_sqrt((mean_square - mu * mu).abs())


def mscn(x: torch.Tensor, padding: str, *, window: int = WINDOW,
         width: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mean-subtracted contrast-normalised coefficients (x - mu) / (sigma + C), and sigma.

    Coefficients within ``DEAD_ZONE`` become 0: in a flat neighbourhood their sign is that of a rounding error, and the
    one-sided fits below count signs.

    Args:
        x, padding, window, width: as :func:`local_moments`.

    Returns:
        Two tensors of the shape of ``x``.
    """
    mu, sigma = local_moments(x, padding, window=window, width=width)
    return torch.nn.functional.hardshrink((x - mu) / (sigma + C), DEAD_ZONE), sigma


def neighbour_products(x: torch.Tensor, shifts: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Returns x times itself shifted, for each shift, shape (..., len(shifts), H, W).

    Args:
        x: shape (..., H, W).
        shifts: rows down and columns right, as MATLAB's ``circshift``: what leaves on one side enters on the other.
    """
    return torch.stack([x * x.roll(shift, (-2, -1)) for shift in shifts], dim=-3)


def fit_ggd(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns shape alpha and variance of a zero-mean generalised Gaussian fitted to the samples of the last axis.

    The moment fit of Sharifi and Leon-Garcia (1995): E[x^2] / E[|x|]^2 = G(1/alpha) G(3/alpha) / G(2/alpha)^2.
    Samples that are all zero have alpha 0.2, the most peaked shape of the grid, and variance 0.

    Args:
        x: shape (..., P), float64.
    """
    mean_square = _mean_square(x)
    ratio = x.abs().mean(-1).square() / mean_square.clamp_min(TINY)
    return shape_from_ratio(ratio, nearest_in_inverse=True), mean_square


def fit_aggd(x: torch.Tensor) -> AGGD:
    """Returns the asymmetric generalised Gaussian fitted to the samples of the last axis.

    The moment fit of Lasmar, Stitou and Berthoumieu (2009). A side without samples has the width 0.

    Args:
        x: shape (..., P), float64.

    Returns:
        Five tensors of shape (...).
    """
    positive, negative = x.clamp_min(0), x.clamp_max(0)
    sum_left, sum_right = (torch.einsum("...p,...p->...", side, side) for side in (negative, positive))
    absolute_mean = (positive.sum(-1) - negative.sum(-1)) / x.shape[-1]
    n_left, n_right = _count_signs(x)
    left, right = safe_sqrt(sum_left / n_left.clamp_min(1)), safe_sqrt(sum_right / n_right.clamp_min(1))
    ratio = absolute_mean.square() / ((sum_left + sum_right) / x.shape[-1]).clamp_min(TINY)
    # With g = left / right this is ratio * (g^3 + 1)(g + 1) / (g^2 + 1)^2, also where one side is empty.
    asymmetry = (left**3 + right**3) * (left + right) / (left**2 + right**2).square().clamp_min(TINY**2)
    return AGGD(shape_from_ratio(ratio * asymmetry), left, right, n_left, n_right)


def shape_from_ratio(ratio: torch.Tensor, *, nearest_in_inverse: bool = False) -> torch.Tensor:
    """Returns the alpha of the grid 0.2 : 0.001 : 10 with r(alpha) = G(2/alpha)^2 / (G(1/alpha) G(3/alpha)) nearest ratio.

    Gradients are those of the linearly interpolated inverse table, and 0 beyond its ends.

    Args:
        ratio: any shape, float64: neighbouring r differ by 2e-6 at alpha = 10.
        nearest_in_inverse: measure nearness in 1 / r, as the authors' fit of the symmetric Gaussian does.

    >>> shape_from_ratio(torch.tensor([0.5, 2 / torch.pi], dtype=torch.float64))  # Laplace and Gauss
    tensor([1., 2.], dtype=torch.float64)
    """
    shapes, ratios, slopes = shape_table(ratio.device)
    value = ratio.detach()
    above = torch.searchsorted(ratios, value).clamp(1, ratios.numel() - 1)
    low, high = ratios[above - 1], ratios[above]
    # |1/value - 1/low| <= |1/high - 1/value|, times low high value > 0
    nearer_low = (low - value).abs() * high <= (high - value).abs() * low if nearest_in_inverse else \
        (value - low).abs() <= (high - value).abs()
    index = above - nearer_low.to(above.dtype)
    inside = (value > ratios[0]) & (value < ratios[-1])
    return shapes[index] + torch.where(inside, slopes[above - 1], 0) * (ratio - value)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve later training, whoever asks for it first
def shape_table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the grid of alpha, r(alpha) on it (increasing), and d alpha / d r between neighbours; float64."""
    shapes = 0.2 + SHAPE_STEP * torch.arange(9801, dtype=torch.float64)
    ratios = torch.exp(2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes))
    return shapes.to(device), ratios.to(device), (SHAPE_STEP / ratios.diff()).to(device)


def gamma_ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns G(a) / G(b) of positive numbers."""
    return torch.exp(torch.lgamma(a) - torch.lgamma(b))


def _mean_square(x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("...p,...p->...", x, x) / x.shape[-1]


def _count_signs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns how many samples of the last axis are negative and how many positive."""
    sign = x.detach().sign()
    difference, total = sign.sum(-1), torch.einsum("...p,...p->...", sign, sign)
    return (total - difference) / 2, (total + difference) / 2
